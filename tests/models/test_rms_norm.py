"""RMSNorm against PyTorch's own, which is the reference."""

import pytest
import torch

from memlab.errors import UserError
from memlab.models import RMSNorm


@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 4, 8)])
def test_outputs_and_gradients_are_those_of_pytorch_s_norm(shape: tuple[int, ...]) -> None:
    ours, theirs = RMSNorm(8, eps=1e-3).double(), torch.nn.RMSNorm(8, eps=1e-3).double()
    with torch.no_grad():
        ours.weight.copy_(theirs.weight.normal_())
    inputs = [torch.randn(shape, dtype=torch.float64).requires_grad_()]
    inputs.append(inputs[0].detach().clone().requires_grad_())
    grad = torch.randn(shape, dtype=torch.float64)
    out, expected = ours(inputs[0]), theirs(inputs[1])
    out.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_gradients_of_what_is_needed_alone() -> None:
    norm = RMSNorm(4).requires_grad_(False)
    x = torch.randn(2, 4, requires_grad=True)
    norm(x).sum().backward()
    assert x.grad is not None and norm.weight.grad is None


def test_it_is_computed_in_fp32_for_bf16() -> None:
    x = torch.full((1, 256), 1e-3).bfloat16()
    out = RMSNorm(256)(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(
        out.float(), torch.nn.functional.rms_norm(x.float(), (256,), eps=1e-6), atol=4e-3, rtol=0
    )


def test_zeros_stay_zeros() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    out = RMSNorm(4)(x)
    out.sum().backward()
    assert not out.any() and x.grad is not None and x.grad.isfinite().all()


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="width=0"):
        RMSNorm(0)
