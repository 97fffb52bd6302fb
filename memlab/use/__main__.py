"""Use a finished model: a run folder, a folder that --export wrote, or owner/name of a model on the Hugging Face Hub.

  python -m memlab.use RUN --encode FILE       write the memories of a text to FILE.memories.safetensors
  python -m memlab.use RUN --retention FILE    show a text beside what the model gives back of it, wrong tokens marked
  python -m memlab.use RUN --chat              go on with each line that is typed; Ctrl-D or Ctrl-C ends it
  python -m memlab.use RUN --export FOLDER     write weights, config, tokenizer and model card, and nothing else
  python -m memlab.use RUN --push OWNER/NAME   upload the same to the Hub, where `hf auth login` let you in

FILE is text in UTF-8; - is standard input. Exit status: 0; 2 for a mistake.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from memlab.errors import UserError, fail
from memlab.progress import console

if TYPE_CHECKING:
    from memlab.use.text_model import TextModel

# Torch is imported by the functions below, after the options are read: --help answers at once.


def main() -> None:
    options = _parser().parse_args()
    try:
        from memlab.use.load import load

        model = load(options.run, device=options.device, trust=options.trust)
        if options.encode:
            _encode(model, options)
        elif options.retention:
            _retention(model, options)
        elif options.export:
            model.save_pretrained(options.export)
            console.print(f"Written: {options.export}", markup=False)
        elif options.push:
            address = model.push_to_hub(options.push, private=options.private or None)
            console.print(f"Uploaded: {address}", markup=False)
        else:
            _chat(model, options)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the shell's prompt on a line of its own
    except Exception as error:
        fail(error, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m memlab.use", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="the model's folder, such as runs/stages/copy-..., or OWNER/NAME")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--encode", metavar="FILE")
    action.add_argument("--retention", metavar="FILE")
    action.add_argument("--chat", action="store_true")
    action.add_argument("--export", type=Path, metavar="FOLDER")
    action.add_argument("--push", metavar="OWNER/NAME")
    parser.add_argument("--private", action="store_true", help="a repository that --push makes is private")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where --encode writes")
    parser.add_argument("--memories", type=Path, metavar="FILE", help="memories that --chat begins with")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="tokens of an answer (default: 64)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 (default): the likeliest token")
    parser.add_argument("--top-p", type=float, default=1.0, help="draw from the likeliest tokens with this share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    trust = "a package of your own whose classes the config may name; may be repeated"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=trust)
    return parser


def _encode(model: "TextModel", options: argparse.Namespace) -> None:
    text = _read(options.encode)
    if options.out is None and options.encode == "-":
        raise UserError("say where to write the memories of standard input: --out FILE")
    path = options.out or Path(f"{options.encode}.memories.safetensors")
    memories = model.encode(text)
    memories.save(path)
    stored, size = len(memories) * memories.bits / 8, len(text.encode())
    console.print(
        f"{len(memories):,} chunks of up to {model.model.length} tokens, {memories.floats} floats"
        f" ({memories.bits:,} bits) each: {stored:,.0f} bytes of memories for {size:,} bytes of text. Written: {path}",
        markup=False,
    )


def _retention(model: "TextModel", options: argparse.Namespace) -> None:
    from memlab.use.show import show_retention

    show_retention(model.retention(_read(options.retention)), console)


def _chat(model: "TextModel", options: argparse.Namespace) -> None:
    from memlab.use.chat import chat, typed, write_now
    from memlab.use.generate import Sampling
    from memlab.use.memories import Memories

    chat(
        model,
        typed(sys.stdin, write_now),
        write_now,
        memories=None if options.memories is None else Memories.load(options.memories),
        max_new_tokens=options.max_new_tokens,
        sampling=Sampling(options.temperature, options.top_p, options.seed),
    )
    if sys.stdin.isatty():
        print()  # behind the prompt that Ctrl-D answered


def _read(name: str) -> str:
    """Return a file's text, without its byte-order mark. Raises UserError."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: byte 0x{raw[error.start]:02x} at offset {error.start:,} is not UTF-8") from None


if __name__ == "__main__":
    main()
