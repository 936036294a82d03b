"""The command, its subcommands' help, and that neither waits for an import."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mmboxcaseg
from mmboxcaseg.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
HEAVY = ['torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'cv2', 'numpy', 'scipy', 'matplotlib']
HEAVY += ['pycocotools']
# Scripts of their own, which run several of the commands.
ALONE = {'ablate.py', 'demo.py', 'demo_full.py'}
SCRIPTS = {
    path: module[1]
    for path in sorted((ROOT / 'tools').rglob('*.py'))
    if (module := re.search(r"^    run\('(\w+)'\)$", path.read_text(), re.M))
}


@pytest.fixture
def call(capsys):
    """Run the command in this process; returns exit code, stdout and stderr."""

    def call(*words):
        with pytest.raises(SystemExit) as error:
            main(words)
        return error.value.code, *capsys.readouterr()

    return call


def run_python(*words):
    """What a new process prints."""
    command = [sys.executable, '-W', 'ignore', *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize('words', [['--help'], ['-h'], ['convert', '--help']])
def test_help_names_every_command(call, words):
    code, out, err = call(*words)
    assert (code, err) == (0, '')
    assert out.startswith('usage: mmboxcaseg COMMAND ...\n')
    listed = out.partition('commands; each says more with --help:\n')[2].splitlines()
    assert [re.split(r' {2,}', line.strip())[0] for line in listed] == [*COMMANDS]


def test_version(call):
    assert call('--version') == (0, f'{mmboxcaseg.__version__}\n', '')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'the following arguments are required: COMMAND'),
        (['trian'], "argument COMMAND: invalid choice: 'trian' (choose from "),
        (['convert'], "argument COMMAND: invalid choice: 'convert' (choose from "),
        (['convert', 'voc'], "argument COMMAND: invalid choice: 'convert voc' (choose from "),
        (['--verbose', 'train'], 'the following arguments are required: COMMAND'),
        (['plot-curves'], 'the following arguments are required: work_dirs'),
        (['plot-curves', '--outt', 'a'], 'there is no option --outt: did you mean --out?'),
        (['plot-curves', '--zebra=\x1b'], 'there is no option --zebra'),
    ],
)
def test_wrong_words_are_one_sentence(call, words, message):
    code, out, err = call(*words)
    assert (code, out) == (2, '')
    sentence = err.splitlines()[-1]
    assert re.match(r'mmboxcaseg( plot-curves)?: error: ', sentence) and message in sentence
    if 'choose from' in message:
        assert all(name in sentence for name in COMMANDS)


def test_what_a_command_refuses_is_one_sentence(call):
    assert call('combine-quality', 'a.json', '--out', 'b.json') == (
        *(2, '', 'error: give the proxy masks of at least two rounds\n'),
    )


@pytest.mark.parametrize('name', COMMANDS)
def test_help_of_a_command(call, name):
    code, out, err = call(*name.split(), '--help')
    assert (code, err) == (0, '')
    assert out.startswith(f'usage: mmboxcaseg {name} [-h]')
    # What it does is said, and what its arguments are.
    assert out.count('.') and '  -h, --help' in out


@pytest.mark.parametrize(
    ('words', 'called', 'how'),
    [
        (['train', 'a.py'], 'cli.train.run_settings', '--resume goes on from the last checkpoint'),
        (
            ['masks', 'a.csv', '--images', 'img', '--out', 'out'],
            'apis.masking.boxes_to_masks',
            'the same command goes on where it was',
        ),
    ],
)
def test_ctrl_c_says_how_to_go_on(call, monkeypatch, words, called, how):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f'mmboxcaseg.{called}', interrupted)
    assert call(*words) == (130, '', f'interrupted: {how}\n')


@pytest.mark.parametrize(
    'name', ['report', 'draw', 'generate', 'detector-masks', 'baseline-masks', 'masks', 'review']
)
def test_the_folder_of_images_has_one_name(call, name):
    _, out, _ = call(name, '--help')
    assert re.search(r'^  --images ', out, re.MULTILINE)


def test_the_former_name_of_the_folder_of_images(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ('report', 'masks.json', '--img-root', 'none', '--out', 'a.html')
    code, _, err = call(*words)
    assert code == 2 and err.startswith('error: ') and 'masks.json' in err


def test_scripts_are_the_commands():
    others = {path.name for path in (ROOT / 'tools').rglob('*.py')} - {p.name for p in SCRIPTS}
    assert others == ALONE
    modules = [module for module, _ in COMMANDS.values()]
    assert sorted([*SCRIPTS.values(), 'env']) == sorted(modules)
    files = {path.stem for path in (ROOT / 'mmboxcaseg/cli').glob('*.py')}
    assert files == {*modules, '__init__', 'options'}


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.stem)
def test_a_script_and_its_command_say_the_same(call, capsys, monkeypatch, path):
    (name,) = (name for name, (module, _) in COMMANDS.items() if module == SCRIPTS[path])
    monkeypatch.setattr(sys, 'argv', [str(path), '--help'])
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(path), run_name='__main__')
    assert error.value.code == 0
    by_script = capsys.readouterr().out
    by_command = call(*name.split(), '--help')[1]
    # Lines are broken elsewhere after a longer name.
    assert by_script.replace(path.name, '').split() == (
        by_command.replace(f'mmboxcaseg {name}', '', 1).split()
    )
    assert path.read_text().startswith(f'"""The command ``mmboxcaseg {name}``."""\n')


def test_help_imports_nothing_that_takes_long():
    scripts = [str(ROOT / 'tools' / name) for name in sorted(ALONE)]
    code = f"""
import contextlib, io, json, runpy, sys
from mmboxcaseg.cli import COMMANDS, main
found = {{}}
for name in ['', *COMMANDS, *{scripts}]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        if name in {scripts}:
            sys.argv = [name, '--help']
            runpy.run_path(name, run_name='__main__')
        main([*name.split(), '--help'])
    found[name] = [out.getvalue().startswith('usage: ')]
    found[name] += [module for module in {HEAVY} if module in sys.modules]
print(json.dumps(found))"""
    found = json.loads(run_python('-c', code))
    assert found == {name: [True] for name in ['', *COMMANDS, *scripts]}


def test_python_m():
    assert run_python('-m', 'mmboxcaseg', '--version') == f'{mmboxcaseg.__version__}\n'
