"""The commit of the code that a record names: that of this checkout alone."""

import os
import subprocess

import pytest

from ipcl_core import records
from ipcl_core.records import find_commit


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit that holds a copy of the module; a function that asks the copy for the commit."""
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    folder = tmp_path / "a checkout"
    (folder / "ipcl_core").mkdir(parents=True)
    (folder / "ipcl_core/records.py").write_text("x = 1\n")
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", ".")
    run_git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "one")
    return folder


def run_git(folder, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", folder, *words], check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()


def ask(folder, monkeypatch) -> str | None:
    monkeypatch.setattr(records, "__file__", str(folder / "ipcl_core/records.py"))
    find_commit.cache_clear()
    try:
        return find_commit()
    finally:
        find_commit.cache_clear()


def test_commit_of_the_checkout(checkout, monkeypatch, warnings_of):
    commit = run_git(checkout, "rev-parse", "HEAD")
    assert ask(checkout, monkeypatch) == commit and len(commit) == 40
    (checkout / "ipcl_core/records.py").write_text("x = 2\n")
    assert ask(checkout, monkeypatch) == f"{commit}+changes"
    assert warnings_of() == []


def test_commit_of_another_users_checkout(checkout, monkeypatch):
    """Git refuses it by itself ("dubious ownership")."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(subprocess.CalledProcessError) as error:
        run_git(checkout, "rev-parse", "HEAD")
    assert "dubious ownership" in error.value.stderr
    assert len(ask(checkout, monkeypatch)) == 40


def test_export_within_another_repository_has_no_commit(checkout, monkeypatch, warnings_of):
    """Where somebody keeps his dotfiles, or his study, in git."""
    (checkout / "inside/ipcl_core").mkdir(parents=True)
    assert ask(checkout / "inside", monkeypatch) is None
    (said,) = warnings_of()
    assert f"it lies within another repository, {checkout}" in said


def test_called_by_a_hook_of_another_repository(checkout, tmp_path, monkeypatch):
    run_git(tmp_path, "init", "--quiet", "study")
    commit = run_git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "study/.git"))
    assert ask(checkout, monkeypatch) == commit


def test_export_outside_of_git_has_no_commit(tmp_path, monkeypatch, warnings_of):
    (tmp_path / "ipcl_core").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert ask(tmp_path, monkeypatch) is None
    assert "the commit of the code is not recorded: fatal: not a git repository" in warnings_of()[0]


def test_machine_without_git(tmp_path, monkeypatch, warnings_of):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask(tmp_path, monkeypatch) is None
    assert "git cannot be started" in warnings_of()[0]
