"""Passages ranked by the vectors of a server that speaks OpenAI's protocol, by the cosine between them and the query.

The vector of a passage is asked for once in this process. The server's key is in the variable `EMBEDDINGS_API_KEY`; the
key of the model that is sampled never goes there.

Errors: a server that fails or cannot be reached ends the attempt as an infra error (`ModelUnavailable`). One that
refuses such requests stops the run (`ModelRefused`).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.index.passages import Passage
from agent.models.model import ModelRefused, ModelUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KEY", "Embeddings"]

KEY = "EMBEDDINGS_API_KEY"
AT_ONCE, CHARACTERS = 64, 6000  # texts of one request, and characters of a text
TRIES, SECONDS = 5, 60.0
KEPT = 50_000  # vectors in this process
REFUSED = (400, 401, 403, 404, 422)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Ranks by the embedding model `model` of the server at `url`, the address that ends before `/embeddings`."""

    url: str
    model: str

    async def best(self, query: str, found: Sequence[Passage], count: int) -> list[Passage]:
        import numpy as np

        texts = [f"{passage.path} {passage.qualname}\n{passage.text}"[:CHARACTERS] for passage in found]
        asked, *vectors = await self._vectors([query[:CHARACTERS], *texts])
        if not vectors:
            return []
        scores = np.stack(vectors) @ asked
        order = np.argsort(-scores, kind="stable")[:count]
        return [found[int(at)] for at in order]

    async def _vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """The vectors of these texts, each of length 1."""
        known: dict[str, NDArray[np.float32] | None] = {text: _vectors.get((self, text)) for text in texts}
        missing = [text for text, vector in known.items() if vector is None]
        for start in range(0, len(missing), AT_ONCE):
            batch = missing[start : start + AT_ONCE]
            fresh = dict(zip(batch, await self._asked(batch), strict=True))
            known |= fresh
            _vectors.update({(self, text): vector for text, vector in fresh.items()})
        while len(_vectors) > KEPT:
            _vectors.popitem(last=False)
        return [vector for text in texts if (vector := known[text]) is not None]

    async def _asked(self, texts: list[str]) -> list[NDArray[np.float32]]:
        import numpy as np
        from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError

        what = f"the embeddings of {self.model} at {self.url}"
        client = AsyncOpenAI(
            base_url=self.url, api_key=os.environ.get(KEY) or "none", max_retries=TRIES, timeout=SECONDS
        )
        try:
            async with client:
                answer = await client.embeddings.create(model=self.model, input=texts, encoding_format="float")
            vectors = [np.asarray(one.embedding, dtype=np.float32) for one in answer.data]
            if len(vectors) != len(texts) or len({vector.shape for vector in vectors}) != 1:
                raise ModelUnavailable(f"{what}: {len(vectors)} vectors came back for {len(texts)} texts")
            return [vector / max(float(np.linalg.norm(vector)), 1e-12) for vector in vectors]
        except APIStatusError as error:
            if error.status_code in REFUSED:
                raise ModelRefused(
                    f"{what} are refused ({error.status_code}: {error.message}); check --embeddings, "
                    f"--embeddings-model and the variable {KEY}"
                ) from None
            raise ModelUnavailable(f"{what}: status {error.status_code}") from None
        except APIConnectionError as error:
            raise ModelUnavailable(f"{what}: {error.__cause__ or error}") from None
        except (OpenAIError, TypeError, ValueError, AttributeError) as error:
            raise ModelUnavailable(f"{what}: the answer cannot be read ({error})") from None


_vectors: OrderedDict[tuple[Embeddings, str], NDArray[np.float32]] = OrderedDict()
