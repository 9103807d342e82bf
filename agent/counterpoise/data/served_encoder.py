"""An encoder behind a server with OpenAI's `/v1/embeddings`, as a job names it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, field_validator

from counterpoise.core.errors import JobError
from counterpoise.core.redactions import keep_secret, keep_secrets_of
from counterpoise.core.strict_yaml import SETTINGS

if TYPE_CHECKING:
    from counterpoise_retrievers.encoders import Encoder


class ServedEncoder(BaseModel):
    """The keys of `encoder` for a server's.

    Args:
        url: the server's base address, ending in `/v1`.
        model: name of the model there.
        api_key_env: environment variable that holds the server's key.
        prefix: put in front of every text, where the model was trained with one (`classification: `).
        max_tokens: the model's window.
    """

    model_config = SETTINGS
    url: str = Field(min_length=1)
    model: str = Field(min_length=1)
    api_key_env: str = ""
    prefix: str = ""
    max_tokens: int = Field(512, ge=8)

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"found {value!r}; write an address such as http://localhost:8000/v1")
        return value

    def open(self) -> Encoder:
        """The encoder; nothing is asked yet.

        Raises:
            JobError: the variable of the key is not set.
        """
        from counterpoise_retrievers.encoders import EndpointEncoder, PrefixedEncoder

        if self.api_key_env and not os.environ.get(self.api_key_env):
            raise JobError(
                f"the environment variable {self.api_key_env} is not set", where="encoder", hint="set it"
            )
        api_key = os.environ.get(self.api_key_env, "") if self.api_key_env else ""
        keep_secret(api_key)
        keep_secrets_of(self.url)
        encoder = EndpointEncoder(self.url, self.model, api_key, max_tokens=self.max_tokens)
        return PrefixedEncoder(encoder, self.prefix) if self.prefix else encoder
