"""Quick stand-ins for the heavy children, for tests that turn hundreds of weeks: same commands, same contracts, no torch and no vLLM.

What is real beside them: every stage, Dagster, the lake, the QA store, the processes and their groups. What is not: the model. The
training child writes an adapter whose weights are a function of its spec, the server answers for the `door` pack by rule and is wrong
in a share of the answers that depends on which adapter is asked. `install()` swaps the children of this process and of its own children.
"""


def install() -> None:
    """Make this process start the stand-ins instead of training, vLLM and PEFT."""
    from flywheel.serving import canary, vllm_server
    from flywheel.training import stage

    stage.CHILD = "flywheel_tests.stand_ins.training"
    canary.CHILD = "flywheel_tests.stand_ins.reference"
    vllm_server.CHILD = "flywheel_tests.stand_ins.server"
