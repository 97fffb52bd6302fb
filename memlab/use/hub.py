"""The Hugging Face Hub: download what `load` reads, upload what `save_pretrained` writes."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from memlab.data.codec import CODEC_FILES
from memlab.errors import UserError
from memlab.use.folder import CARD, CONFIG, WEIGHTS

if TYPE_CHECKING:
    from memlab.use.text_model import TextModel

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
MESSAGE = "Upload a memlab model"
FILES = (CONFIG, WEIGHTS, *CODEC_FILES, CARD)


def download(name: str, revision: str | None, token: str | None) -> Path:
    """Return the folder in the Hub's cache that holds a model's files. Nothing else of the repository is read.

    name: owner/name. revision: a branch, a tag or a commit; None: main. Without a network, files that are in the cache
    are found there. Raises UserError.
    """
    from huggingface_hub import constants, errors, snapshot_download

    where = f"{name} is no folder here, and {constants.ENDPOINT}"
    try:
        return Path(snapshot_download(name, revision=revision, token=token, allow_patterns=[*FILES]))
    except errors.GatedRepoError:
        raise UserError(
            f"{where} gives it only to those who accepted its terms: do so there, then `hf auth login`"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{where} has no such model; for a private one, `hf auth login` first") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{name} has no revision {revision!r} on {constants.ENDPOINT}") from None
    except (errors.HfHubHTTPError, OSError) as error:  # the cache's own errors and a network's are OSErrors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{where} cannot be asked ({reason})") from None


def upload(model: "TextModel", name: str, private: bool | None, revision: str | None, token: str | None) -> str:
    """Make the repository owner/name if it is not there, write the model's files to it, return its address.

    Raises UserError.
    """
    from huggingface_hub import HfApi, errors

    if not HUB_ID.fullmatch(name):
        raise UserError(f"{name!r} is no name of a model on the Hub: give owner/name, such as me/my-memories")
    api = HfApi(token=token)
    with TemporaryDirectory(prefix="memlab-hub-") as folder:
        model.save_pretrained(folder)
        try:
            address = api.create_repo(name, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(name, branch=revision, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=folder, revision=revision, commit_message=MESSAGE)
        except errors.LocalTokenNotFoundError:
            raise UserError("the Hub must know who you are: `hf auth login`, or give token=") from None
        except (errors.HfHubHTTPError, OSError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            hint = ": `hf auth login` with a token that may write" if status in (401, 403) else ""
            raise UserError(f"{name} was not uploaded to {api.endpoint} ({str(error).splitlines()[0]}){hint}") from None
    return str(address)
