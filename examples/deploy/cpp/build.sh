#!/bin/sh
# Build mask_rcnn with g++ against the torch of a Python environment: build.sh PYTHON OUTPUT
set -e
torch=$("$1" -c "import pathlib, torch; print(pathlib.Path(torch.__file__).parent)")
g++ -std=c++20 -O1 "$(dirname "$0")/mask_rcnn.cpp" -o "$2" \
    -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
    -L"$torch/lib" -Wl,-rpath,"$torch/lib" -Wl,--no-as-needed -ltorch -ltorch_cpu -lc10 -ldl
