"""``gridwarden evidence``: bundles of frames and facts behind alerts, and pseudonyms."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sensor.cli.common import Command, err, out, print_json
from sensor.errors import UsageError

if TYPE_CHECKING:
    from sensor.bundle.layout import Bundle
    from sensor.bundle.verify import Verdict
    from sensor.config.schema import Config

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)
PLACE = click.Path(path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON, one object per line.")
config_option = click.option(
    "-c",
    "--config",
    "config_file",
    type=FILE,
    envvar="GRIDWARDEN_CONFIG",
    help="Configuration that names the folder (or set GRIDWARDEN_CONFIG).",
)


def folder_options(function: F) -> F:
    """Options -c/--config and --folder; the command gets the path as ``folder``."""

    @functools.wraps(function)
    def wrapped(*args: Any, config_file: Path | None, folder: Path | None, **given: Any) -> Any:
        return function(*args, folder=chosen_folder(config_file, folder), **given)

    made: Any = config_option(
        click.option("--folder", type=PLACE, help="The folder of bundles itself.")(wrapped)
    )
    return made  # type: ignore[no-any-return]


def folder_options_optional(function: F) -> F:
    """The same two options, handed over as they are."""
    made: Any = config_option(
        click.option("--folder", type=PLACE, help="The folder of bundles itself.")(function)
    )
    return made  # type: ignore[no-any-return]


def chosen_folder(config_file: Path | None, folder: Path | None) -> Path:
    """The folder of bundles; raises UsageError when neither was given, ConfigError."""
    if folder is not None:
        return folder
    return needed(config_file).evidence.folder


def needed(config_file: Path | None) -> Config:
    """The configuration; raises UsageError when none was given, ConfigError."""
    if config_file is None:
        raise UsageError("which evidence? Give -c gridwarden.toml or --folder FOLDER")
    from sensor.config.schema import load_config

    return load_config(config_file)


@click.group("evidence")
def command() -> None:
    """Evidence bundles: the frames around an alert, and all that is needed to judge them again.

    \b
    Examples:
      gridwarden evidence list -c gridwarden.toml
      gridwarden evidence show 3f2a -c gridwarden.toml
      gridwarden evidence export 3f2a -c gridwarden.toml -o case.zip
      gridwarden evidence verify -c gridwarden.toml --key evidence.pub
    """


@command.command("list", cls=Command)
@folder_options
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most.")
@json_option
def list_bundles(folder: Path, limit: int, as_json: bool) -> None:
    """Bundles, newest first.

    \b
    Examples:
      gridwarden evidence list -c gridwarden.toml
      gridwarden evidence list --folder gridwarden.evidence --json | jq .name
    """
    from sensor.bundle.find import bundles
    from sensor.bundle.keep import read_state
    from sensor.report.evidence import facts_of, list_table

    every, problems = bundles(folder)
    chosen = every[::-1][:limit]
    if as_json:
        for one in chosen:
            print_json(facts_of(one))
    else:
        list_table(out, chosen)
        for reason, count in sorted(read_state(folder)["given_up"].items()):
            out.print(f"given up ({reason}): {count:,}", style="dim", markup=False, highlight=False)
        if len(every) > limit:
            out.print(f"the latest {limit} of {len(every):,}; --limit shows more", style="dim", markup=False)
    for problem in problems:
        err.print(f"warning: {problem}", markup=False, highlight=False, soft_wrap=True)


@command.command("show", cls=Command)
@click.argument("ident", metavar="BUNDLE")
@folder_options
@click.option("--frames", is_flag=True, help="Also the deciding frames, dissected.")
@json_option
def show(ident: str, folder: Path, frames: bool, as_json: bool) -> None:
    """One bundle by its name or the id of one of its alerts; the beginning is enough.

    \b
    Examples:
      gridwarden evidence show 3f2a -c gridwarden.toml
      gridwarden evidence show 3f2a -c gridwarden.toml --frames | less
    """
    from sensor.bundle.find import chosen
    from sensor.bundle.layout import DISSECTION
    from sensor.report.evidence import shown_rows, visible

    bundle = chosen(folder, ident)
    text = (bundle.path / DISSECTION).read_text("utf-8", "replace") if frames else ""
    if as_json:
        print_json(bundle.manifest | {"path": str(bundle.path)} | ({"dissected": text} if frames else {}))
        return
    for name, value in shown_rows(bundle):
        out.print(f"{name:<10} {value}", markup=False, highlight=False, soft_wrap=True)
    if frames:
        out.print(f"\n{visible(text)}", markup=False, highlight=False, soft_wrap=True)


@command.command("verify", cls=Command)
@click.argument("idents", metavar="[BUNDLE|FILE.zip]...", nargs=-1)
@folder_options_optional
@click.option("--key", "key_file", type=FILE, help="Public key (PEM or OpenSSH) that must have signed.")
@click.option("--signed", is_flag=True, help="A bundle without a signature fails.")
@click.option("--replay", "again", is_flag=True, help="Also judge the slice again with the kept baseline.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    idents: tuple[str, ...],
    config_file: Path | None,
    folder: Path | None,
    key_file: Path | None,
    signed: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Is a bundle what it was: every member, the signature, its place among the others, its verdict.

    Without a name all bundles of the folder, and whether one is missing between them. Exit code 0 when
    nothing is wrong, 1 when something is.

    \b
    Examples:
      gridwarden evidence verify -c gridwarden.toml
      gridwarden evidence verify 3f2a -c gridwarden.toml --key evidence.pub --replay
      gridwarden evidence verify case.zip --json
    """
    from sensor.bundle.sign import load_public
    from sensor.report.evidence import print_verdict

    key = load_public(key_file) if key_file is not None else ""
    archives = [Path(ident) for ident in idents if ident.endswith(".zip")]
    names = [ident for ident in idents if not ident.endswith(".zip")]
    verdicts: list[Verdict] = []
    for archive in archives:
        verdicts += _verify_archive(archive, key, signed, again)
    if names or not archives:
        verdicts += _verify_folder(chosen_folder(config_file, folder), names, key, signed, again)
    for verdict in verdicts:
        if as_json:
            print_json(_verdict_record(verdict))
        else:
            print_verdict(out, verdict)
    if not verdicts and not as_json:
        out.print("there are no bundles", style="dim")
    ctx.exit(0 if all(verdict.ok for verdict in verdicts) else 1)


@command.command("export", cls=Command)
@click.argument("ident", metavar="BUNDLE")
@folder_options_optional
@click.option("-o", "--output", "target", type=FILE, required=True, help="Zip archive to be written.")
@click.option("--pseudonymise", is_flag=True, help="Addresses and names as pseudonyms; needs -c with a key.")
@click.option("--without-baseline", is_flag=True, help="Leave out the baseline that judged.")
@json_option
def export(
    ident: str,
    config_file: Path | None,
    folder: Path | None,
    target: Path,
    pseudonymise: bool,
    without_baseline: bool,
    as_json: bool,
) -> None:
    """A bundle as a zip archive, as it is or with pseudonyms.

    With pseudonyms, headers are rewritten, content that may hold addresses is cut off, the frames are
    dissected anew, and the baseline stays here.

    \b
    Examples:
      gridwarden evidence export 3f2a -c gridwarden.toml -o case.zip
      gridwarden evidence export 3f2a -c gridwarden.toml -o case.zip --pseudonymise
    """
    from sensor.bundle.export import export as write
    from sensor.bundle.find import chosen

    bundle = chosen(chosen_folder(config_file, folder), ident)
    counts: dict[str, int] = {}
    if pseudonymise:
        counts = _export_scrubbed(bundle, target, needed(config_file))
    else:
        write(bundle, target, not without_baseline)
    if as_json:
        print_json({"name": bundle.name, "archive": str(target), "pseudonymised": pseudonymise, **counts})
        return
    out.print(f"{target}: written", markup=False, highlight=False, soft_wrap=True)
    if pseudonymise:
        words = (
            f"{counts.get('frames', 0):,} frames; content cut {counts.get('cut', 0):,} times for its kind, "
            f"{counts.get('cut-address', 0):,} times for an address in it"
        )
        out.print(words, style="dim", markup=False, highlight=False)


@command.command("whois", cls=Command)
@click.argument("wanted", metavar="[PSEUDONYM]...", nargs=-1)
@config_option
@click.option("--range", "networks", multiple=True, help="Also try all addresses of a network, 10.20.0.0/16.")
@json_option
@click.pass_context
def whois(
    ctx: click.Context,
    wanted: tuple[str, ...],
    config_file: Path | None,
    networks: tuple[str, ...],
    as_json: bool,
) -> None:
    """What a pseudonym (of an address, a name, the id of an alert) stands for; or the other way round.

    Works where the key and the store are. Without an argument the whole table of what is known here. Exit
    code 1 when one is not known.

    \b
    Examples:
      gridwarden evidence whois 249.43.222.223 -c gridwarden.toml
      gridwarden evidence whois 10.20.30.66 -c gridwarden.toml
      gridwarden evidence whois 249.43.222.223 -c gridwarden.toml --range 10.20.0.0/16
    """
    config = needed(config_file)
    found = _table(config, networks)
    unknown = 0
    if not wanted:
        wanted = tuple(sorted(found))
    for one in wanted:
        rows = _who(config, found, one)
        unknown += not rows
        for pseudonym, real in rows:
            if as_json:
                print_json({"pseudonym": pseudonym, "stands_for": real})
            else:
                out.print(f"{pseudonym}  {real}", markup=False, highlight=False, soft_wrap=True)
        if not rows:
            what = "is not known here; --range tries a whole network"
            err.print(f"{one}: {what}", markup=False, highlight=False, soft_wrap=True)
    ctx.exit(1 if unknown else 0)


def _table(config: Config, networks: tuple[str, ...]) -> dict[str, list[str]]:
    from sensor.bundle.layout import SLICE, names
    from sensor.pseudonym.key import make_pseudonyms
    from sensor.pseudonym.whois import alert_ids, in_range, in_slices, in_store, table

    pseudonyms = make_pseudonyms(config)
    store = config.store.path
    known = list(in_store(store)) if store.exists() else []
    ids = list(alert_ids(store)) if store.exists() else []
    folder = config.evidence.folder
    known += in_slices([folder / name / SLICE for name in names(folder)], pseudonyms)
    for network in networks:
        known += in_range(network)
    return table(pseudonyms, known, ids)


def _who(config: Config, found: dict[str, list[str]], wanted: str) -> list[tuple[str, str]]:
    """(pseudonym, what it stands for); a real address or name finds its own pseudonym."""
    from sensor.pseudonym.key import make_pseudonyms

    own = make_pseudonyms(config).address(wanted.lower())
    text = wanted.lower() if own is not None else wanted
    if text in found:
        return [(text, real) for real in found[text]]
    back = [(pseudonym, text) for pseudonym, reals in found.items() if text in reals]
    return back


def _export_scrubbed(bundle: Bundle, target: Path, config: Config) -> dict[str, int]:
    from sensor.bundle.export import export_scrubbed
    from sensor.daemon.evidence import dissect_text, signer_of
    from sensor.pseudonym.key import make_pseudonyms

    return export_scrubbed(bundle, target, make_pseudonyms(config), signer_of(config), dissect_text)


def _verify_archive(archive: Path, key: str, signed: bool, again: bool) -> list[Verdict]:
    from sensor.bundle.export import unpacked

    with tempfile.TemporaryDirectory(prefix="gridwarden-") as folder:
        return [_verified(bundle, key, signed, again) for bundle in unpacked(archive, Path(folder))]


def _verify_folder(folder: Path, names: list[str], key: str, signed: bool, again: bool) -> list[Verdict]:
    from sensor.bundle.find import bundles, chosen
    from sensor.bundle.keep import read_state
    from sensor.bundle.verify import Verdict, check_chain

    every, problems = bundles(folder)
    picked = [chosen(folder, name) for name in names] if names else every
    verdicts = {bundle.name: _verified(bundle, key, signed, again) for bundle in picked}
    check_chain(every, verdicts, read_state(folder)["last"])
    broken = [Verdict(Path(problem.partition(":")[0]).name, problems=[problem]) for problem in problems]
    return [*verdicts.values(), *(broken if not names else [])]


def _verified(bundle: Bundle, key: str, signed: bool, again: bool) -> Verdict:
    from sensor.bundle.verify import replay
    from sensor.bundle.verify import verify as look
    from sensor.errors import GridwardenError

    verdict = look(bundle, key, signed)
    if again:
        try:
            verdict.replay = replay(bundle)
        except GridwardenError as error:
            verdict.problems.append(f"cannot be judged again: {error}")
    return verdict


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(verdict) | {"ok": verdict.ok}
