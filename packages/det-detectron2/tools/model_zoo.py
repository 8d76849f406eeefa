"""Write the settings of `detectron2.model_zoo` from the recorded ones: python tools/model_zoo.py tests/reference/zoo

Recorded is what each published YAML configuration changes from the defaults; those that are Python files are left out.
"""

import gzip
import json
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src/det_detectron2/layer/model_zoo/settings.json.gz"


def main() -> None:
    """Read the recorded configurations and write those of YAML files."""
    settings = {}
    for file in sorted(Path(sys.argv[1]).glob("*.json.gz")):
        recorded = json.loads(gzip.decompress(file.read_bytes()))
        settings |= {name: each["settings"] for name, each in recorded.items() if "model.kind" not in each["settings"]}
    text = json.dumps(settings, separators=(",", ":"), sort_keys=True)
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    sys.stdout.write(f"{len(settings)} configurations in {TARGET}\n")


if __name__ == "__main__":
    main()
