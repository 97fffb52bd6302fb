"""Arms that only some architectures have."""

import pytest

from memlab.config.compose import compose_sweep
from memlab.errors import UserError


def test_an_arm_may_belong_to_some_architectures() -> None:
    def arms(*given: str) -> list[tuple[str, str]]:
        sweep = compose_sweep(["+experiment=autoencoder_design", "scale=smoke", *given])
        return [(config.architecture.name, config.arm) for config in sweep.configs]

    chosen = arms("architecture=mixer,transformer", "arm=repeat,flat")
    assert sorted(chosen) == [("mixer", "flat"), ("mixer", "repeat"), ("transformer", "repeat")]
    assert ("transformer_mixer", "mixer_decoder") in arms("architecture=transformer_mixer")
    with pytest.raises(UserError, match="another architecture"):
        arms("architecture=transformer", "arm=flat")


@pytest.mark.parametrize("arm", ["{adds: repeat}", "{adds: x, architectures: mixer}"])
def test_an_arm_is_a_line_or_has_a_line_and_architectures(arm: str) -> None:
    with pytest.raises(UserError, match="give adds and architectures"):
        compose_sweep(["+experiment=copy", f"+arms.mine={arm}"])
