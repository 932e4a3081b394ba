"""Where results go on this machine."""

from __future__ import annotations

from pathlib import Path

from tasks.outputs import output_name, point_latest


def test_a_result_is_named_after_its_file() -> None:
    assert output_name("a/b.txt") == "a/b.txt_OUTPUT.txt"


def test_names_that_no_file_system_takes_are_shortened_and_stay_apart() -> None:
    first, second = output_name("f/" + "é" * 124 + "xx"), output_name("f/" + "é" * 124 + "xy")
    assert first != second
    for name in (first, second):
        assert name.startswith("f/é")
        assert name.endswith("_OUTPUT.txt")
        assert len(Path(name).name.encode()) <= 255


def test_latest_points_at_the_newest_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point_latest(tmp_path / name)
        assert (tmp_path / "latest").resolve() == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "one", "two"]
