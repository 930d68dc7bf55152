#!/bin/sh
# Make a virtual environment with everything the project needs: sh envs/setup.sh FOLDER
#
# FFCV is compiled and needs a C++ compiler and the headers of OpenCV and libjpeg-turbo. Where this user may install
# packages with apt they are installed; elsewhere the script says what to run and stops before anything else is done.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; $python is $("$python" --version). Set PYTHON to another one." >&2
    exit 1
}

packages="g++ pkg-config libopencv-dev libturbojpeg0-dev"
if ! { command -v "${CXX:-c++}" && pkg-config --exists opencv4 libturbojpeg; } >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt="apt-get"
    elif sudo -n true 2>/dev/null && command -v apt-get >/dev/null; then
        apt="sudo apt-get"
    else
        cat >&2 <<MESSAGE
FFCV needs a C++ compiler and the headers of OpenCV and libjpeg-turbo to compile. Run this, then the same command again:

    sudo apt-get update && sudo apt-get install -y $packages

Without administrator rights, take them from conda-forge, then run the same command again:

    conda create -n ipcl -c conda-forge python=3.11 cxx-compiler pkg-config libopencv libjpeg-turbo
    conda activate ipcl
MESSAGE
        exit 1
    fi
    $apt update -qq
    DEBIAN_FRONTEND=noninteractive $apt install -y -qq $packages
fi

"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --require-hashes --requirement requirements.lock
"$venv/bin/pip" install --quiet --no-deps --no-build-isolation --editable .
"$venv/bin/python" -c "import ffcv, torch; print('ready: FFCV, torch', torch.__version__, 'GPU' if torch.cuda.is_available() else 'CPU')"
touch "$venv/ready"
