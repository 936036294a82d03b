"""Check what the pages say: links lead somewhere, and commands run or are at least understood.

    python docs/check.py            # all of it: `make docs-check`, minutes on a CPU
    python docs/check.py --parse    # runs nothing: seconds, as a test does

The bash and python blocks of a page run in its order in a folder of its own that holds images/,
boxes.json (four photographs of scikit-image and boxes drawn on them), image.jpg, and links to the
repository's tools, configs and demo. The Python blocks of a page share their names, and a training
by the command ``mmboxcaseg`` ends after one epoch. The lines of a text block are looked for in what
the block before it printed. Where a block cannot run, the page says why in a
comment before it, and the block is parsed alone:

    <!-- docs-check: needs VOC 2012 and GPUs -->
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ('*.md', 'docs/*.md', 'demo/*.md', 'configs/README.md', 'configs/*/README.md')

# Pages of which no block runs.
NOT_RUN = {
    'docs/benchmarks.md': 'half an hour, and photographs that are not in the repository',
    'docs/gpu.md': 'a GPU',
    'docs/install.md': 'it installs',
    'docs/model_card.md': 'data that is not in the repository, and a GPU',
    'docs/prepare_data.md': 'VOC, SBD, COCO and DUTS',
    'docs/results.md': 'data that is not in the repository',
    'configs/README.md': 'VOC, COCO and GPUs',
    'configs/ablations/README.md': 'VOC, COCO and GPUs',
    'configs/baselines/README.md': 'VOC, COCO and GPUs',
    'configs/proxy_segmenters/README.md': 'COCO and GPUs, and data that is not in the repository',
}
# Programs whose words are not ours to check.
PROGRAMS = ('cat', 'cd', 'git', 'ln', 'md5sum', 'mkdir', 'sbatch', 'sha256sum', 'source', 'unzip')
MODULES = ('pytest', 'venv')
# Words that stand for a number.
NUMBERS = ('SEED',)
SECONDS = 900  # that a block may take

FENCE = re.compile(
    r'(?:^<!-- docs-check: (?P<reason>[^\n]+?) -->\n+)?'
    r'^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$',
    re.M | re.S,
)
VARIABLE = re.compile(r'\$\{?(\w+)\}?')
LINK = re.compile(r'\]\(([^()\s]+)\)|<img [^>]*src="([^"]+)"')


class Block(NamedTuple):
    """A block of code of a page.

    Attributes:
        line: Number of its first line.
        language: As its fence says.
        code: What it holds, not indented.
        reason: Why it cannot run; None if it can.
    """

    line: int
    language: str
    code: str
    reason: str | None


class Refused(BaseException):
    """A command line that is wrong. What the tools catch of a user's mistakes is no such one."""


class Parsed(BaseException):
    """Ends a tool as soon as its command line is parsed.

    Attributes:
        args: What was parsed, alone in a tuple.
    """


def main() -> None:
    """Check, print what is wrong and what was not run, and end with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--parse', action='store_true', help='run nothing')
    parser.add_argument('pages', nargs='*', type=Path, help='these only (all)')
    args = parser.parse_args()
    paths = [path.resolve() for path in args.pages] or list_pages()
    problems = [problem for path in paths for problem in check_page(path)]
    if not args.parse:
        os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
        for path in paths:
            problems += run_page(path)
    print(*problems, f'{len(paths)} pages, {len(problems)} problems', sep='\n')
    sys.exit(bool(problems))


def list_pages() -> list[Path]:
    """List all pages."""
    return sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))


def read_blocks(path: Path) -> list[Block]:
    """List the blocks of a page that are commands, Python or output, in its order."""
    text, page = path.read_text(), path.relative_to(ROOT).as_posix()
    return [
        Block(
            text.count('\n', 0, match.start('code')) + 1,
            match['language'],
            textwrap.dedent(match['code']),
            match['reason'] or NOT_RUN.get(page),
        )
        for match in FENCE.finditer(text)
        if match['language'] in ('bash', 'python', 'text')
    ]


def check_page(path: Path) -> list[str]:
    """Find what is wrong with a page without running its blocks.

    Returns:
        A line for each thing that is wrong.
    """
    page = path.relative_to(ROOT)
    problems = [f'{page}: {link} leads nowhere' for link in broken_links(path)]
    for block in read_blocks(path):
        try:
            if block.language == 'bash':
                parse_bash(block.code)
            elif block.language == 'python':
                parse_python(block.code)
        except Refused as refused:
            problems.append(f'{page}:{block.line}: {refused}')
    return problems


def broken_links(path: Path) -> Iterator[str]:
    """Find the links of a page to files, folders and headings that are not there."""
    text = re.sub(r'```.*?```|`[^`\n]*`', '', path.read_text(), flags=re.S)
    for match in LINK.finditer(text):
        link = match[1] or match[2]
        if re.match(r'\w+:', link):
            continue
        file, _, anchor = link.partition('#')
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@cache
def anchors(path: Path) -> set[str]:
    """The names by which the headings of a page are linked to, as GitHub and the site have them."""
    text = re.sub(r'^```.*?^```', '', path.read_text(), flags=re.M | re.S)
    names: set[str] = set()
    for heading in re.findall(r'^#+ (.+)$', text, re.M):
        shown = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
        name = re.sub(r'[^\w\- ]', '', shown.lower()).replace(' ', '-')
        numbered = (f'{name}-{number}' for number in count(1))
        names.add(next(n for n in chain([name], numbered) if n not in names))
    return names


def parse_python(code: str) -> None:
    """Compile a block.

    Raises:
        Refused: If it is not Python.
    """
    try:
        compile(code, 'block', 'exec')
    except SyntaxError as error:
        raise Refused(f'not Python: {error}') from None


def parse_bash(code: str) -> None:
    """Parse the commands of a block, without running one.

    Raises:
        Refused: If one is unknown, or does not take its words.
    """
    code = re.sub(r"<<'?(\w+)'?(.*?\n).*?^\1$", r'\2', code, flags=re.M | re.S)
    variables: dict[str, str] = {}
    for line in code.replace('\\\n', ' ').splitlines():
        words = shlex.split(VARIABLE.sub(lambda m: variables.get(m[1], m[0]), line), True)
        for command in split_commands(words):
            while command and (setting := re.fullmatch(r'(\w+)=(.*)', command[0])):
                variables[setting[1]] = setting[2]
                command = command[1:]
            if command:
                try:
                    parse_command(command)
                except Refused as refused:
                    raise Refused(f'{" ".join(command)}: {refused}') from None


def split_commands(words: list[str]) -> Iterator[list[str]]:
    """Split a line at ``&&``, ``;`` and ``|``; what is written to a file is left out."""
    command: list[str] = []
    for word in [*words, ';']:
        if word in ('&&', ';', '|'):
            yield command
            command = []
        elif word == '>':
            yield command
            return
        else:
            command.append('0' if word in NUMBERS else word.strip('[]'))


def parse_command(words: list[str]) -> None:
    """Parse one command.

    Raises:
        Refused: If it is unknown or does not take its words.
    """
    program, *rest = words
    if program == 'python' and rest[:2] == ['-m', 'mmboxcaseg']:
        program, rest = 'mmboxcaseg', rest[2:]
    if program == 'mmboxcaseg':
        parse_tool(None, rest)
    elif program == 'python' and rest[0].endswith('.py') and (ROOT / rest[0]).is_file():
        parse_tool(ROOT / rest[0], rest[1:])
    elif program == 'python' and (rest == ['benchmarks'] or rest[:1] == ['-m']):
        if rest[0] == '-m' and rest[1] not in MODULES:
            raise Refused(f'no such module: {rest[1]}')
    elif re.fullmatch(r'tools/\w+\.sh', program) and (ROOT / program).is_file():
        parse_script(ROOT / program, rest)
    elif program == 'make':
        targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M)
        if unknown := [word for word in rest if '=' not in word and word not in targets]:
            raise Refused(f'make has no target {unknown[0]}')
    elif program == 'pip':
        known = re.findall(r'^(\w+) = \[$', (ROOT / 'pyproject.toml').read_text(), re.M)
        for extra in re.findall(r'\w+', ' '.join(re.findall(r'\[([^\]]*)', ' '.join(rest)))):
            if extra not in known:
                raise Refused(f'pyproject.toml has no extra {extra}')
    elif program not in PROGRAMS:
        raise Refused('no such program: name it in docs/check.py if it is right')


def parse_script(script: Path, words: list[str]) -> None:
    """Parse the words of ``tools/dist_*.sh``, which stand for those of a tool.

    Raises:
        Refused: If the tool does not take them.
    """
    match = re.search(r'/dist\.sh" (\S+) (?:\'([^\']*)\'|(\w+))', script.read_text())
    if not match:  # a cluster's
        return
    count_ = len((match[2] or match[3]).split())
    if not words[count_ : count_ + 1] or not words[count_].isdigit():
        raise Refused(f'word {count_ + 1} must be the number of processes')
    parse_tool(ROOT / 'tools' / match[1], words[:count_] + words[count_ + 1 :])


def parse_tool(script: Path | None, words: list[str]) -> None:
    """Parse a tool's command line by the tool's own parser, and the config that it names.

    Args:
        script: The tool; None for the command ``mmboxcaseg``.
        words: Of its command line.

    Raises:
        Refused: If the parser refuses them, or the config with the options does not load.
    """
    parsers = argparse.ArgumentParser

    def error(self, message):
        raise Refused(message)

    def ending(method):
        def parse(self, *args, **kwargs):
            raise Parsed(method(self, *args, **kwargs))

        return parse

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(parsers, 'error', error))
        for name in ('parse_args', 'parse_intermixed_args'):
            patch = mock.patch.object(parsers, name, ending(getattr(parsers, name)))
            stack.enter_context(patch)
        stack.enter_context(mock.patch.object(sys, 'argv', [str(script), *words]))
        stack.enter_context(mock.patch.object(sys, 'path', [*sys.path]))
        if script and script.parent.name == 'benchmarks':
            sys.path.insert(0, str(script.parent))
        try:
            if script:
                runpy.run_path(str(script), run_name='__main__')
            else:
                from mmboxcaseg.cli import main as run_command

                run_command(words)
        except Parsed as parsed:
            check_configs(*parsed.args)
        except SystemExit as error:
            if error.code:
                raise Refused(str(error)) from None


def check_configs(args: argparse.Namespace) -> None:
    """Load the package's configs that a command line names, with its ``--cfg-options``.

    Raises:
        Refused: If one does not load, or an option does not fit.
    """
    from mmboxcaseg.engine.config import load_config, parse_options
    from mmboxcaseg.errors import InputError

    options = getattr(args, 'cfg_options', None) or []
    named = [getattr(args, 'config', None), *(getattr(args, 'configs', None) or [])]
    folders = {'configs', *(path.name for path in (ROOT / 'configs').iterdir())}
    for name in filter(None, named):
        if Path(name).parts[0] in folders:
            try:
                path = ROOT / name if name.startswith('configs/') else name
                load_config(path, parse_options(options))
            except InputError as error:
                raise Refused(str(error)) from None


def run_page(path: Path) -> list[str]:
    """Run the blocks of a page, and look for the output that it shows in what they print.

    Returns:
        A line for each block that fails, and for each line of output that is another one now.
    """
    page, names, problems = path.relative_to(ROOT), {'__name__': '__main__'}, []
    blocks = read_blocks(path)
    if all(block.reason for block in blocks):
        print(*(f'{page}: not run: {reason}' for reason in {b.reason for b in blocks}), sep='\n')
        return []
    printed = ''
    with tempfile.TemporaryDirectory() as folder:
        furnish(Path(folder))
        for block in blocks:
            where = f'{page}:{block.line}'
            if block.language == 'text':
                problems += [
                    f'{where}: not printed now: {line}' for line in missing(block, printed)
                ]
                continue
            print(f'{where}: {f"not run: {block.reason}" if block.reason else "runs"}', flush=True)
            if not block.reason:
                try:
                    printed = run_block(block, folder, names)
                except (Exception, SystemExit) as error:
                    output = getattr(error, 'output', None) or ''
                    problems.append(f'{where}: {error}\n{output[-2000:]}')
    return problems


def run_block(block: Block, folder: str, names: dict) -> str:
    """Run a block in a folder.

    Args:
        block: A bash or Python block.
        folder: See :func:`furnish`.
        names: What the page's Python blocks share; they change it.

    Returns:
        What it printed.

    Raises:
        Exception: If it fails.
    """
    if block.language == 'python':
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            os.chdir(folder)
            try:
                exec(compile(block.code, 'block', 'exec'), names)
            finally:
                os.chdir(ROOT)
        return printed.getvalue()
    path = os.pathsep.join([str(Path(folder, '.bin')), os.environ['PATH']])
    return subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', block.code],
        cwd=folder,
        env={**os.environ, 'PATH': path},
        check=True,
        timeout=SECONDS,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def missing(block: Block, printed: str) -> list[str]:
    """List the lines of a block of output that were not printed, times apart."""
    lines = {line.strip() for line in printed.splitlines()}
    shown = filter(None, map(str.strip, block.code.splitlines()))
    return [line for line in shown if not line.startswith('time: ') and line not in lines]


def furnish(folder: Path) -> None:
    """Put what blocks may use into a folder."""
    import skimage.data
    import skimage.io

    for name in ('configs', 'demo', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    boxes = ROOT / 'demo' / 'photographs.json'
    (folder / 'boxes.json').write_bytes(boxes.read_bytes())
    (folder / 'images').mkdir()
    for name in ('astronaut', 'chelsea', 'coffee', 'rocket'):
        image = getattr(skimage.data, name)()
        skimage.io.imsave(folder / 'images' / f'{name}.png', image, check_contrast=False)
    skimage.io.imsave(folder / 'image.jpg', skimage.data.coffee())
    # Whatever environment this runs in, the package that is called is this one.
    (folder / '.bin').mkdir()
    python = shlex.quote(sys.executable)
    programs = dict(python=f'exec {python} "$@"', mmboxcaseg=f'exec {python} -m mmboxcaseg "$@"')
    short = '--cfg-options train_cfg.max_epochs=1'
    programs['mmboxcaseg'] = f'[ "$1" != train ] || set -- "$@" {short}\n' + programs['mmboxcaseg']
    for name, lines in programs.items():
        program = folder / '.bin' / name
        program.write_text(f'#!/bin/sh\n{lines}\n')
        program.chmod(0o755)


if __name__ == '__main__':
    main()
