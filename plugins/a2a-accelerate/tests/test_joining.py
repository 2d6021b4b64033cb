import pytest

from a2a_accelerate.joining import first_host, forget_launcher, joined, slurm_place

SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_JOB_ID": "4711",
}


def test_ranks_of_torchrun_and_of_nobody() -> None:
    assert joined({"RANK": "0", "WORLD_SIZE": "2"}, 0)
    assert not joined({}, 0)


def test_tasks_of_srun_are_ranks() -> None:
    environment = dict(SRUN)
    assert joined(environment, 4)
    assert {name: environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")} == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": "24711",
    }


def test_what_the_user_says_of_the_place_stays() -> None:
    environment = {**SRUN, "MASTER_ADDR": "other", "MASTER_PORT": "1"}
    assert joined(environment, 4)
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("other", "1")


@pytest.mark.parametrize("processes", [0, 4])
def test_one_task_a_machine_starts_the_ranks_itself(processes: int) -> None:
    environment = {**SRUN, "SLURM_STEP_NUM_TASKS": "2"}
    assert not joined(environment, processes)
    assert "RANK" not in environment
    assert joined(environment, 1)


def test_a_batch_script_is_no_rank() -> None:
    assert not joined({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}, 4)
    assert slurm_place({"SLURM_JOB_ID": "1"}) == ""


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a", "a"), ("a,b", "a"), ("gpu[03-05,9],a", "gpu03"), ("n-[7]", "n-7"), ("r[1-2]c1,x", "r1c1"), ("a.b.c,d", "a.b.c")],
)
def test_the_first_host_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_only_the_recipe_decides() -> None:
    environment = {"ACCELERATE_USE_FSDP": "true", "ACCELERATE_MIXED_PRECISION": "fp16", "RANK": "0"}
    forget_launcher(environment)
    assert environment == {"RANK": "0"}
