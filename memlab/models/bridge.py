"""How an autoencoder's decoder gets the memories: (R, M, D) -> (R, L, D) (shapes: see base.py)."""

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import require_positive


class RepeatBridge(nn.Module):
    """The same vector at each of L positions. With M > 1 a biased linear M*D -> D makes one vector of the M."""

    def __init__(self, width: int, length: int, memories: int = 1) -> None:
        super().__init__()
        require_positive(width=width, length=length, memories=memories)
        self.length = length
        self.projection: nn.Module = nn.Linear(memories * width, width) if memories > 1 else nn.Identity()

    def forward(self, memories_RMD: Tensor) -> Tensor:
        vector_RD = self.projection(memories_RMD.flatten(1))
        return vector_RD[:, None].expand(-1, self.length, -1)


class UnrollBridge(nn.Module):
    """Position t gets half of the M*D features, from feature t mod M*D on, wrapping, through one shared linear to D.

    The window is M*D/2 wide, D/2 at the published M = 1: a window of D/2 would leave the later vectors unread
    wherever L < D/2. Raises UserError where M*D is odd.
    """

    def __init__(self, width: int, length: int, memories: int = 1) -> None:
        super().__init__()
        require_positive(width=width, length=length, memories=memories)
        if width * memories % 2:
            raise UserError(f"width={width}: unroll takes half of the features, choose an even width.")
        self.length = length
        self.projection = nn.Linear(memories * width // 2, width)

    def forward(self, memories_RMD: Tensor) -> Tensor:
        features_RF = memories_RMD.flatten(1)
        count = features_RF.shape[1]
        position = torch.arange(self.length, device=features_RF.device)
        offset = torch.arange(count // 2, device=features_RF.device)
        return self.projection(features_RF[:, (position[:, None] + offset) % count])
