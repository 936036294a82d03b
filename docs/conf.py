"""Sphinx: the pages and the README files as a site; ``make docs`` writes it, without a network."""

from pathlib import Path

from sphinx.addnodes import pending_xref

import mmboxcaseg

project = 'mmboxcaseg'
version = release = mmboxcaseg.__version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']

# The root of the repository is the source folder: links lead where they lead in the repository.
root_doc = 'docs/index'
include_patterns = [
    'docs/*.md',
    'configs/README.md',
    'configs/*/README.md',
    'demo/README.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
]
exclude_patterns = ['.*', 'build', 'data', 'mmboxcaseg', 'site', 'tests', 'work_dirs']

myst_heading_anchors = 4
suppress_warnings = ['myst.header']

html_theme = 'furo'
html_title = 'mmboxcaseg'
html_copy_source = False
html_show_sourcelink = False
html_additional_pages = {'index': 'redirect.html'}
templates_path = ['_templates']


def setup(app):
    """Connect what follows."""
    app.connect('doctree-read', unlink_folders)


def unlink_folders(app, doctree):
    """Leave the text of links to folders, which a site has no page of."""
    here = Path(doctree['source']).parent
    for node in list(doctree.findall(pending_xref)):
        if node.get('reftype') == 'myst' and (here / node['reftarget']).is_dir():
            node.replace_self(node.children)
