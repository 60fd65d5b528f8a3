"""Not run: read by the type checker, as a user's program would be."""

from typing import assert_type

import iskra as torch
from iskra import Tensor

x = torch.ones(2, 3, requires_grad=True)
assert_type(x, Tensor)
assert_type(x + 1, Tensor)
assert_type(2 * x, Tensor)
assert_type(x @ x, Tensor)
assert_type(x == x, Tensor)
assert_type(-x, Tensor)
assert_type(x[0, 1:], Tensor)
assert_type(torch.exp(x), Tensor)
assert_type(x.exp(), Tensor)
assert_type(x.add_(1, alpha=2), Tensor)
assert_type(x.sum(dim=(0, 1), keepdim=True), Tensor)
assert_type(x.view(3, 2), Tensor)
assert_type(x.view((3, 2)), Tensor)
assert_type(x.shape, torch.Size)
assert_type(x.dtype, torch.dtype)
assert_type(x.device, torch.device)
assert_type(x.ndim, int)
assert_type(x.requires_grad, bool)
assert_type(x.grad, Tensor | None)
assert_type(torch.add(x, 1, out=x), Tensor)
assert_type(torch.float32, torch.dtype)
assert_type(torch.vstack([x, x]), Tensor)
assert_type(torch.equal(x, x), bool)
assert_type(torch.nn.functional.softmax(x, dim=1), Tensor)
assert_type(torch.linalg.inv(x), Tensor)

x.add(1, beta=2)  # type: ignore[call-arg]
x.exp(base=1)  # type: ignore[call-arg]
x.sum(keepdim="yes")  # type: ignore[arg-type]
torch.exp("x")  # type: ignore[arg-type]
x.no_such_method()  # type: ignore[attr-defined]
