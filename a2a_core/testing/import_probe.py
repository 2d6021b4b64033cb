"""Run as a script, in a process of its own: imports modules and says which large packages each asks for.

Prints a JSON object, module -> where it asks for one (empty: nowhere), null for a module that is not found by its name.
The packages are refused instead of imported, so that every module is blamed for itself and nothing takes long.
"""

import importlib
import json
import sys
import traceback
from importlib.abc import MetaPathFinder

HEAVY = frozenset(
    [
        "accelerate",
        "av",
        "bitsandbytes",
        "cv2",
        "datasets",
        "deepspeed",
        "diffusers",
        "jax",
        "keras",
        "librosa",
        "lightning",
        "matplotlib",
        "numba",
        "numpy",
        "pandas",
        "peft",
        "PIL",
        "plotly",
        "polars",
        "pyarrow",
        "scipy",
        "sentencepiece",
        "skimage",
        "sklearn",
        "soundfile",
        "spacy",
        "tensorflow",
        "tokenizers",
        "torch",
        "torchaudio",
        "torchcodec",
        "torchmetrics",
        "torchvision",
        "transformers",
    ]
)


class Refusal(MetaPathFinder):
    """Refuses large packages and notes who wanted them."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """ImportError for a large package, unless somebody only looks whether it is there."""
        if name not in HEAVY:
            return
        frames = traceback.extract_stack()[:-1]
        if any(frame.name == "find_spec" and "importlib" in frame.filename for frame in frames):
            return
        last = next(frame for frame in reversed(frames) if "importlib" not in frame.filename)
        self.noted.append(f"{last.filename}:{last.lineno}: {last.line}")
        raise ImportError(f"{name} is refused", name=name)


def probe(module: str, refusal: Refusal) -> str | None:
    """What a module asks for."""
    refusal.noted.clear()
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            return None
        return refusal.noted[0] if refusal.noted else str(error)
    except ImportError as error:
        return refusal.noted[0] if refusal.noted else str(error)
    return refusal.noted[0] if refusal.noted else ""


def main() -> None:
    """Modules by name on the command line."""
    importlib.import_module("a2a_core")
    refusal = Refusal()
    sys.meta_path.insert(0, refusal)
    print(json.dumps({module: probe(module, refusal) for module in sys.argv[1:]}))


if __name__ == "__main__":
    main()
