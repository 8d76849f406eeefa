"""Detectors on the Hugging Face hub: a checkpoint and a model card."""

from pathlib import Path
from tempfile import TemporaryDirectory

from det_core.errors import WeightsError
from det_core.predict import Detector
from det_core.weights.sources import offline

from det_inspect.optional import optional

__all__ = ["fetch", "push_to_hub"]

_FILE = "model.safetensors"


def fetch(source: str) -> Path:
    """The local copy of `hf://owner/repository[@revision]/file`; without a file, that of `push_to_hub`.

    Raises:
        WeightsError: it cannot be downloaded.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub, errors = optional("huggingface_hub", source), optional("huggingface_hub.errors", source)
    owner, _, rest = source.removeprefix("hf://").partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository):
        raise WeightsError(source, "names no repository", fix="write hf://owner/repository/file.safetensors")
    name, _, revision = repository.partition("@")
    try:
        options = {"revision": revision or None, "local_files_only": offline()}
        return Path(hub.hf_hub_download(f"{owner}/{name}", file or _FILE, **options))
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        raise WeightsError(source, "cannot be downloaded", str(error).partition("\n")[0], "check the name") from error


def push_to_hub(
    detector: Detector, repo_id: str, private: bool = False, token: str | None = None, card: str = ""
) -> str:
    """Upload a detector; arguments and errors as of `Detector.push_to_hub`."""
    hub, errors = (optional(name, "Detector.push_to_hub") for name in ("huggingface_hub", "huggingface_hub.errors"))
    with TemporaryDirectory() as name:
        detector.save(Path(name) / _FILE)
        Path(name, "README.md").write_text(card or _card(detector, repo_id), encoding="utf-8")
        try:
            api = hub.HfApi(token=token)
            repository = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository.repo_id, folder_path=name, commit_message="A detector of det")
        except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
            fix = "check the name, the network, and the token: hf auth login"
            raise WeightsError(repo_id, "cannot be uploaded", str(error).partition("\n")[0], fix) from error
    return str(repository)


def _card(detector: Detector, repo_id: str) -> str:
    metrics = {} if detector.about is None else detector.about.metrics
    head = "library_name: det\npipeline_tag: object-detection\ntags: [det, object-detection]"
    text = f"---\n{head}\n---\n\n# {repo_id.rpartition('/')[2]}\n\nA detector of {len(detector.classes)} classes: "
    text += f"{', '.join(detector.classes[:100])}.\n\n"
    text += f'```python\nfrom det_core import Detector\n\ndetector = Detector.load("hf://{repo_id}")\n```\n'
    if metrics:
        rows = "".join(f"| {name} | {value:.4f} |\n" for name, value in metrics.items())
        text += f"\nOn its validation set:\n\n| metric | value |\n| --- | --- |\n{rows}"
    return text
