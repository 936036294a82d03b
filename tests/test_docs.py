"""The pages: links lead somewhere, command lines are understood, and lists are whole."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

import mmboxcaseg.datasets
import mmboxcaseg.engine.optim
import mmboxcaseg.evaluation  # noqa: F401 -- registers its metrics
from mmboxcaseg import registry
from mmboxcaseg.cli import COMMANDS
from mmboxcaseg.pretrained import SHIPPED

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location('docs_check', ROOT / 'docs' / 'check.py')
check = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = check
SPEC.loader.exec_module(check)
CONFIG = 'configs/boxcaseg/hrnet_w48_voc.py'


@pytest.mark.parametrize('path', check.list_pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_page(path):
    assert check.check_page(path) == []


def test_pages_that_are_not_run_are_there():
    assert {*check.NOT_RUN} <= {str(path.relative_to(ROOT)) for path in check.list_pages()}


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('mmboxcaseg masks a.json --images i --out o', None),
        (
            'mmboxcaseg masks a.json --images i --out o --minquality 1',
            'no option --minquality: did you mean --min-q',
        ),
        ('mmboxcaseg masks a.json --out o', 'arguments are required: --images'),
        ('mmboxcaseg mask a.json', "invalid choice: 'mask'"),
        ('mmboxcaseg train boxcaseg/hrnet_w48_voc.py', None),
        ('mmboxcaseg train boxcaseg/hrnet_w49_voc.py', r'no .*hrnet_w49_voc\.py'),
        ('mmboxcaseg train own/mask_rcnn.py', None),
        (f'python tools/train.py {CONFIG} --amp', None),
        (f'python tools/train.py {CONFIG} --half', 'there is no option --half'),
        (f'python tools/train.py {CONFIG} --cfg-options val_dataloader=None', None),
        (f'python tools/train.py {CONFIG} --cfg-options optim_wraper.lr=1', 'is no setting'),
        (f'python tools/trian.py {CONFIG}', 'no such program'),
        (f'tools/dist_train.sh {CONFIG} 2 --resume', None),
        (f'tools/dist_train.sh {CONFIG} --resume', 'word 2 must be the number of processes'),
        (f'tools/dist_test.sh {CONFIG} a.pth 2 --tta', None),
        (f'tools/dist_test.sh {CONFIG} a.pth 2 --views', 'there is no option --views'),
        ('python tools/ablate.py 9', "invalid choice: '9'"),
        ('name=boxcaseg/hrnet\npython tools/test.py ${name}_w48_voc.py a.pth', None),
        ('mmboxcaseg env && mmboxcaseg environment', "invalid choice: 'environment'"),
        ('mmboxcaseg env | grip', 'grip: no such program'),
        ("cat > a.csv <<'END'\nname,class\nEND\nmmboxcaseg env", None),
        ("pip install '.[openmmlab,docs]' # both", None),
        ("pip install '.[openmmlab,cuda]'", 'has no extra cuda'),
        ('make test PYTHON=python', None),
        ('make tests', 'make has no target tests'),
    ],
)
def test_commands(line, message):
    if message is None:
        check.parse_bash(line)
    else:
        with pytest.raises(check.Refused, match=message):
            check.parse_bash(line)


def test_blocks():
    text = '\n'.join(
        [
            'Text.',
            '',
            '```bash',
            'mmboxcaseg env',
            '```',
            '',
            '<!-- docs-check: a GPU -->',
            '```python',
            'a = 1',
            '```',
            '',
            '- A list:',
            '',
            '  ```bash',
            '  ls',
            '  ```',
            '```text',
            'ours',
            '```',
            '',
        ]
    )
    page = ROOT / 'docs' / 'none.md'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(page), 'read_text', lambda self: text)
        blocks = check.read_blocks(page)
    assert blocks == [
        (4, 'bash', 'mmboxcaseg env\n', None),
        (9, 'python', 'a = 1\n', 'a GPU'),
        (15, 'bash', 'ls\n', None),
        (18, 'text', 'ours\n', None),
    ]


def test_output_is_what_was_printed():
    shown = check.Block(1, 'text', '  one\ntime: 3 s\ntwo\n', None)
    assert check.missing(shown, 'one \nnone\ntime: 4 s\ntwo\n') == []
    assert check.missing(shown, 'none\ntwo 2\n') == ['one', 'two']


def test_links(tmp_path):
    (tmp_path / 'b.md').write_text('# Other: `code`, 2\n\n## Twice\n\n## Twice\n```\n# none\n```\n')
    good = ['b.md', '#here-it-is', 'b.md#other-code-2', 'b.md#twice-1', 'https://a.b/c', '.']
    bad = ['c.md', '#there', 'b.md#twice-2', 'b.md#none']
    page = tmp_path / 'a.md'
    page.write_text('# Here it is\n' + '\n'.join(f'[a]({link})' for link in good + bad))
    assert [*check.broken_links(page)] == bad
    page.write_text('`[a](c.md)` <img width="1" src="d.jpg">')
    assert [*check.broken_links(page)] == ['d.jpg']


def test_the_reference_has_every_part_of_a_config():
    page = (ROOT / 'docs' / 'reference.md').read_text()
    listed = re.findall(r'^\.\. auto(?:class|function):: (\w+)$', page, re.M)
    registries = [r for r in vars(registry).values() if isinstance(r, registry.Registry)]
    own = {name for r in registries if r.scope == registry.SCOPE for name in r.module_dict}
    assert own <= {*listed} and len(listed) == len({*listed})


def test_every_command_has_its_row():
    page = (ROOT / 'docs' / 'commands.md').read_text()
    rows = re.findall(r'^\| ((?:`[\w -]+`(?:, )?)+) \|', page, re.M)
    assert {*re.findall(r'`([\w -]+)`', ' '.join(rows))} == {'mmboxcaseg', *COMMANDS}


def test_readme_names_the_shipped_network():
    assert f'configs/{SHIPPED.config}' in (ROOT / 'README.md').read_text()


def test_citation_is_the_papers():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0' and citation['authors'] and citation['message']
    paper = citation['preferred-citation']
    names = ' and '.join(f'{a["family-names"]}, {a["given-names"]}' for a in paper['authors'])
    bibtex = (ROOT / 'README.md').read_text()
    assert f'{{{paper["title"]}}}' in bibtex and f'{{{names}}}' in bibtex
    assert f'{{{paper["year"]}}}' in bibtex
