"""Packs a trained model for the registry: `model.tar.gz`, as `runtime/serving` loads it.

    python -m runtime.serving pack --model model.onnx --signature signature.json --output model.tar.gz

prints the digest that MODEL_DIGEST takes. `from_sklearn` makes both files of a scikit-learn model, in the training step that has
scikit-learn and skl2onnx; the container has neither.
"""

import argparse
import gzip
import json
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from runtime.serving.model import MODEL, SIGNATURE, digest
from runtime.serving.signature import Signature


def pack(model: Path, signature: dict[str, Any], archive: Path) -> str:
    """Write the archive, the same bytes for the same files; its digest."""
    said = signature | {"files": {MODEL: digest(model)}}
    text = json.dumps(said, indent=1, sort_keys=True).encode()
    Signature.parse(text)
    with (
        archive.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as members,
    ):
        for name, content in ((MODEL, model.read_bytes()), (SIGNATURE, text)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            members.addfile(entry, BytesIO(content))
    return digest(archive)


def from_sklearn(
    estimator: Any, inputs: Sequence[dict[str, Any]], *, name: str, version: str
) -> tuple[bytes, dict[str, Any]]:
    """A scikit-learn model of numbers as ONNX, and its signature. The columns are the inputs, in their order."""
    from skl2onnx import to_onnx  # noqa: PLC0415 # pyright: ignore
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415 # pyright: ignore

    classifies = hasattr(estimator, "predict_proba")
    made: Any = cast("Any", to_onnx)(
        estimator,
        initial_types=[("X", FloatTensorType([None, len(inputs)]))],
        options={"zipmap": False} if classifies else None,
    )
    outputs = ["label", "probabilities"] if classifies else ["variable"]
    signature = {
        "model": {"name": name, "version": version},
        "stack": "X",
        "inputs": [{"type": "float32", **each} for each in inputs],
        "outputs": outputs,
    }
    return made.SerializeToString(), signature


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m runtime.serving pack", description=__doc__)
    for name in ("model", "signature", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    asked = parser.parse_args(arguments)
    print(pack(asked.model, json.loads(asked.signature.read_text(encoding="utf-8")), asked.output))  # noqa: T201
    return 0
