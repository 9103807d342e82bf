"""Encoders, FAISS indexes and neighbours: arrays and texts, nothing of language models or jobs.

Errors of use are ValueError; a server or a disk that fails raises OSError. Import from the modules:

    encoders          Encoder, OnnxEncoder, EndpointEncoder, LangChainEncoder, PrefixedEncoder, CachedEncoder
    faiss_index       FaissIndex
    stored_index      StoredIndex, an index in a folder that grows from exact to approximate
    hard_negatives    mine_hard_negatives
    bm25, fusion      BM25Index, fuse_rankings
    langchain         FaissVectorStore with filters, ids, diversity and folders; FaissRetriever
    neighbours        pick_diverse, find_near_duplicates, knn_agreement, group_near_duplicates
"""
