#!/usr/bin/env bash
# make_conda.sh ROOT: a real conda 24.7.1 that works offline, from the package conda-lock, which carries all of it.
# Then: CONDARC=ROOT/condarc PATH=ROOT/condabin:$PATH snakemake --sdm conda
set -euo pipefail
root=$1
python=${PYTHON:-python3}
"$python" -m venv "$root"
"$root/bin/pip" install -q boltons requests 'ruamel.yaml>=0.17' zstandard packaging platformdirs setuptools tqdm pluggy \
    pycosat frozendict conda-package-handling conda-package-streaming jsonpatch truststore distro archspec
"$root/bin/pip" install -q --no-deps --target "$root/vendor" conda-lock==4.0.3
site=$("$root/bin/python" -c 'import site; print(site.getsitepackages()[0])')
mv "$root/vendor/conda_lock/_vendor/conda" "$site/conda"
rm -r "$root/vendor"
grep -rlE 'conda_lock\._?vendor\.conda' "$site/conda" --include=*.py | xargs sed -i -E 's/conda_lock\._?vendor\.conda/conda/g'

cat >"$root/bin/conda" <<CONDA
#!$root/bin/python
import sys
if __name__ == "__main__":
    from conda.cli.main import main
    sys.exit(main())
CONDA
chmod +x "$root/bin/conda"
printf 'eval "$(%q shell.posix activate "$1")"\n' "$root/bin/conda" >"$root/bin/activate"
cat >"$root/condarc" <<CONDARC
channel_alias: file://$root/channels
default_channels: []
channels: [conda-forge]
channel_priority: strict
solver: classic
offline: true
add_pip_as_python_dependency: false
notify_outdated_conda: false
number_channel_notices: 0
pkgs_dirs: [$root/pkgs]
envs_dirs: [$root/envs]
CONDARC
mkdir -p "$root/condabin"
ln -sfn ../bin/conda "$root/condabin/conda"
