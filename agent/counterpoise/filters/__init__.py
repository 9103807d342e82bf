"""Why a proposal is refused."""
