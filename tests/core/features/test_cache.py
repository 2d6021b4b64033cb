from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from a2a_core import A2AError, Item, RunFailed, ranks
from a2a_core.data import BadRow, Batches, load
from a2a_core.features import VALUES, cache, fill, places
from a2a_core.job import Job

CPU = torch.device("cpu")


def cached(job: Job, workers: int = 0) -> Job:
    job.cache_features(CPU, nullcontext, workers)
    return job


def outputs(job: Job, split: str = "train", workers: int = 0) -> list[torch.Tensor]:
    data = job.data[split]
    batches = load(data, job.collate, Batches(len(data), 4), workers)
    with torch.no_grad():
        return [job.model(batch["inputs"]).outputs["number"]["values"] for batch in batches]


def same(one: Iterable[torch.Tensor], other: Iterable[torch.Tensor], atol: float = 1e-6) -> None:
    for mine, its in zip(one, other, strict=True):
        torch.testing.assert_close(mine, its, atol=atol, rtol=0)


def broken(job: Job) -> Job:
    """Its encoder cannot be run any more."""

    def forward(**_: Any) -> None:
        raise AssertionError("the encoder is run")

    job.model.encoders["left"].forward = forward
    return job


def shards() -> list[Path]:
    return [shard.path for folder in places.every() for shard in places.shards(folder)]


@pytest.mark.parametrize("workers", [0, 1])
def test_features_stand_in_for_the_encoder(kit: Any, workers: int) -> None:
    plain = kit(cache=False)
    job = broken(cached(kit(), workers))
    assert VALUES in job.data["train"][0].items["left"][0].tensors
    assert VALUES not in job.data["train"][0].items["right"][0].tensors
    same(outputs(job, workers=workers), outputs(plain))
    assert job.data["train"][4].items["left"] == []
    assert job.collate([job.data["train"][4]])["inputs"]["left"]["tensors"][VALUES].shape == (1, 1, 16), "the dummy"


def test_a_later_job_computes_nothing(kit: Any) -> None:
    first = outputs(cached(kit()))
    files = shards()
    job = kit()
    broken(job)
    same(outputs(cached(job)), first, atol=0)
    assert shards() == files
    assert job.reporter.texts == []


def test_what_was_found_and_what_computed_is_told(kit: Any) -> None:
    numbers = sum(len(fields["left"] or []) for fields in kit.rows)
    size = numbers * (16 * 4 + 1)  # 16 channels of float32 and a mask
    assert cached(kit()).reporter.ready == [("left", 0, 9, size)]
    kit.rows.append({"left": [9.0, 8.0], "right": [1.0]})
    assert cached(kit()).reporter.ready == [("left", 9, 1, size + 2 * (16 * 4 + 1))]
    kit.rows.append({"left": ["?"], "right": [1.0]})
    assert cached(kit(cache_dtype="bfloat16")).reporter.ready == [("left", 0, 10, (numbers + 2) * (16 * 2 + 1))], "one is bad"


def test_other_weights_and_other_rows_are_computed(kit: Any) -> None:
    cached(kit())
    same(outputs(cached(kit(seed=1))), outputs(kit(seed=1, cache=False)))
    kit.rows.append({"left": [9.0], "right": [1.0]})
    job = cached(kit())
    same(outputs(job), outputs(kit(cache=False)))
    assert len(list(places.every())) == 2
    assert len(shards()) == 3


def test_the_same_medium_is_computed_once(kit: Any) -> None:
    kit.rows = [{"left": [1.0, 2.0], "value": n} for n in range(6)]
    job = cached(kit(splits=2))
    (folder,) = places.every()
    (shard,) = places.shards(folder)
    assert places.header(shard.path).tensors["keys"]["shape"] == [1, 16]
    same(outputs(job, "validation"), outputs(kit(splits=2, cache=False), "validation"))


def test_the_random_state_is_left_alone(kit: Any) -> None:
    job = kit()
    before = torch.get_rng_state()
    cached(job, 1)
    assert torch.equal(before, torch.get_rng_state())
    assert job.model.encoders["right"].training


@pytest.mark.parametrize("options", [{"cache": False}, {"freeze": False}])
def test_without_it_nothing_is_written(kit: Any, cache_folder: Path, options: dict[str, Any]) -> None:
    job = cached(kit(**options))
    assert job.data["train"].features == {}
    assert not cache_folder.exists()


def test_an_encoder_that_an_adapter_froze_is_frozen(kit: Any) -> None:
    job = kit(freeze=False)
    job.model.encoders["left"].requires_grad_(False)
    assert cached(job).data["train"].features.keys() == {"left"}


def test_what_is_random_cannot_be_kept(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from a2a_core.testing.reference import ReferenceProcessor

    monkeypatch.setattr(ReferenceProcessor, "deterministic", False)
    assert cached(kit()).data["train"].features == {}
    with pytest.raises(A2AError, match="does not always make the same of a medium"):
        cached(kit(cache=True))


def test_what_has_no_content_cannot_be_kept(kit: Any) -> None:
    kit.rows[2]["left"] = {object()}
    job = cached(kit())
    assert job.data["train"].features == {}
    assert job.reporter.texts == [
        "encoder `left` is computed each time: a set cannot be told from another: its set has no content that can be compared"
    ]
    with pytest.raises(A2AError, match="a set cannot be told from another"):
        cached(kit(cache=True))


def alter(path: Path, place: int) -> None:
    whole = bytearray(path.read_bytes())
    whole[place] ^= 1
    path.write_bytes(whole)


def test_an_altered_feature_is_computed_again_and_reported(kit: Any) -> None:
    wanted = outputs(cached(kit()))
    (path,) = shards()
    header = places.header(path)
    alter(path, header.start + header.tensors["values"]["data_offsets"][0] + 2)
    job = cached(kit())
    assert job.reporter.texts[0].startswith("1 of 9 features of encoder `left` in ")
    assert "altered" in job.reporter.texts[0]
    same(outputs(job), wanted, atol=0)
    again = cached(broken(kit()))
    assert again.reporter.texts == []
    same(outputs(again), wanted, atol=0)


@pytest.mark.parametrize("cut", [True, False])
def test_a_shard_that_cannot_be_read_is_computed_again(kit: Any, cut: bool) -> None:
    wanted = outputs(cached(kit()))
    (path,) = shards()
    path.write_bytes(path.read_bytes()[: 100 if cut else None] + (b"" if cut else b"more"))
    job = cached(kit())
    assert f"features of encoder `left` in {path} are computed again" in job.reporter.texts[0]
    same(outputs(job), wanted, atol=0)
    assert path not in shards()


def test_what_a_killed_writer_left_is_deleted(kit: Any) -> None:
    cached(kit())
    (path,) = shards()
    partial = path.with_name(f".{path.name}.1.partial")
    partial.write_bytes(b"half")
    cached(kit())
    assert not partial.exists()


def test_an_interrupted_run_comes_to_the_same_bits(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are cut before it is known what is missing; more channels than one, so that batches matter."""
    monkeypatch.setattr(fill, "SHARD_BYTES", 1)
    kit.rows = [{"left": [n / 7] * (1 + n % 5), "value": n} for n in range(20)]
    wanted = outputs(cached(kit(width=64)))
    files = shards()
    assert len(files) == 7
    for path in files[::2]:
        path.unlink()
    same(outputs(cached(kit(width=64))), wanted, atol=0)


def test_a_batch_is_computed_whole_or_not_at_all(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    cached(kit())
    (path,) = shards()
    header = places.header(path)
    alter(path, header.start + header.tensors["values"]["data_offsets"][0] + 2)
    job = kit()
    forward = job.model.encoders["left"].forward

    def noted(numbers: Any, lengths: Any) -> Any:
        sizes.append(len(numbers))
        return forward(numbers=numbers, lengths=lengths)

    job.model.encoders["left"].forward = noted
    cached(job)
    assert sizes == [3]


def test_what_is_done_when_it_is_interrupted_is_kept(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = kit()
    forward, calls = job.model.encoders["left"].forward, []

    def twice(**tensors: Any) -> Any:
        calls.append(tensors)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(**tensors)

    job.model.encoders["left"].forward = twice
    with pytest.raises(KeyboardInterrupt):
        cached(job)
    (path,) = shards()
    assert places.header(path).tensors["keys"]["shape"] == [6, 16]
    again = kit()
    calls = []
    forward = again.model.encoders["left"].forward
    again.model.encoders["left"].forward = lambda **tensors: calls.append(tensors) or forward(**tensors)
    same(outputs(cached(again)), outputs(kit(cache=False)))
    assert len(calls) == 1


def written(kit: Any) -> None:
    """The rows' numbers in files; one holds nothing, one is no list of numbers, one is not there."""
    for place, row in enumerate(kit.rows):
        if row["left"] is not None:
            (kit.folder / f"{place}.json").write_text(str(row["left"]))
            row["left"] = f"{place}.json"
    (kit.folder / "1.json").write_text('"nothing"')
    (kit.folder / "2.json").write_text('"no numbers"')
    (kit.folder / "3.json").unlink()


def test_bad_rows_stay_bad_for_the_same_reason(kit: Any) -> None:
    written(kit)
    plain, job = kit(use="filed", cache=False), cached(kit(use="filed"))
    for index, each in enumerate(plain.data["train"].rows):
        mine, its = job.data["train"][index], plain.data["train"][index]
        assert isinstance(mine, BadRow) == isinstance(its, BadRow) == (index in (2, 3)), each
        if isinstance(mine, BadRow):
            assert mine.reason == its.reason
        else:
            assert [item.length for item in mine.items["left"]] == [item.length for item in its.items["left"]]
    same(outputs(job), outputs(plain))
    (kit.folder / "3.json").write_text("[1.0]")
    assert "could not be read when features were computed" in job.data["train"][3].reason


def test_files_are_not_opened_once_they_are_computed(kit: Any) -> None:
    written(kit)
    kit.rows = [row for place, row in enumerate(kit.rows) if place not in (2, 3)]
    wanted = outputs(kit(use="filed", cache=False))
    job = cached(kit(use="filed"))
    for path in kit.folder.glob("*.json"):
        path.unlink()
    same(outputs(job), wanted)


def test_files_of_the_same_content_are_one(kit: Any) -> None:
    written(kit)
    cached(kit(use="filed"))
    for path in kit.folder.glob("*.json"):
        path.rename(path.with_name(f"moved-{path.name}"))
    for row in kit.rows:
        row["left"] = row["left"] and f"moved-{row['left']}"
    same(outputs(cached(broken(kit(use="filed")))), outputs(kit(use="filed", cache=False)))


def test_a_list_of_media_is_several_items(kit: Any) -> None:
    written(kit)
    kit.rows = [{"left": ["0.json", "5.json"], "value": 1.0}, {"left": ["1.json", "6.json"]}, {"left": ["5.json", "2.json"]}]
    job, plain = cached(kit(use="filed")), kit(use="filed", cache=False)
    same(outputs(job), outputs(plain))
    assert [item.length for item in job.data["train"][0].items["left"]] == [1, 3]
    assert [item.length for item in job.data["train"][1].items["left"]] == [1]
    assert isinstance(job.data["train"][2], BadRow)


@pytest.mark.parametrize(("dtype", "atol"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_features_are_stored_as_asked(kit: Any, dtype: str, atol: float) -> None:
    job = cached(kit(cache_dtype=dtype))
    item: Item = job.data["train"][0].items["left"][0]
    assert item.tensors[VALUES].dtype == getattr(torch, dtype)
    batch = job.collate([job.data["train"][0]])
    assert batch["inputs"]["left"]["tensors"][VALUES].dtype == torch.float32, "as the encoder gives them"
    same(outputs(job), outputs(kit(cache=False)), atol)


@pytest.mark.parametrize("cache", [True, "auto"])
def test_numbers_that_float16_cannot_hold(kit: Any, cache: bool | str) -> None:
    kit.rows[0]["left"] = [1e9]
    with pytest.raises(A2AError, match="larger than float16 holds"):
        cached(kit(cache_dtype="float16", cache=cache))


def test_more_than_the_limit(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_CACHE_LIMIT", "500")
    job = cached(kit())
    assert job.data["train"].features == {}
    assert "its features take more than 500 B" in job.reporter.texts[0] or "the limit is 500 B" in job.reporter.texts[0]
    assert shards() == []
    same(outputs(job), outputs(kit(cache=False)))
    with pytest.raises(A2AError, match="A2A_CACHE_LIMIT"):
        cached(kit(cache=True))


def test_a_folder_that_cannot_be_written(kit: Any, cache_folder: Path) -> None:
    cache_folder.write_text("a file")
    job = cached(kit())
    assert "cannot be written: " in job.reporter.texts[0]
    same(outputs(job), outputs(kit(cache=False)))
    with pytest.raises(A2AError, match="cannot be written"):
        cached(kit(cache=True))


@pytest.mark.parametrize("cache", [True, "auto"])
def test_a_disk_that_fills_up_while_writing(kit: Any, monkeypatch: pytest.MonkeyPatch, cache: bool | str) -> None:
    from a2a_core.features import store

    monkeypatch.setattr(fill, "SHARD_BYTES", 1)
    write, calls = store.write_shard, []

    def fails(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        write(*given)

    monkeypatch.setattr(store, "write_shard", fails)
    job = kit(cache=cache)
    if cache is True:
        with pytest.raises(RunFailed, match="no space left on the disk"):
            cached(job)
    else:
        same(outputs(cached(job)), outputs(kit(cache=False)))
        assert "no space left on the disk" in job.reporter.texts[0]
    assert shards() == [], "what was kept in vain is given back"


def test_a_read_only_cache_that_has_everything_serves(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from a2a_core.features import lock

    wanted = outputs(cached(kit()))

    def refused(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lock.os, "open", refused)
    same(outputs(cached(broken(kit()))), wanted, atol=0)


def test_a_batch_is_what_a_rank_takes_at_once_in_training(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = []

    class Noted(fill.Filling):
        def run(self, given: fill.Groups, workers: int, ranks: int) -> None:
            groups.extend(len(group) for group in given.groups)

    monkeypatch.setattr(cache, "Filling", Noted)
    monkeypatch.setattr(ranks, "ranks", lambda: 4)
    kit.batch = 8
    encoder = cache.EncoderCache(kit(), "left", CPU, nullcontext, 0, "run", set())
    media = [fill.Wanted(bytes([number]), "train", number, 0) for number in range(9)]
    encoder.fill(cast("Any", None), media, {each.key for each in media})
    assert groups == [2, 1], "the first and the fifth batch of two, not nine media at once"
