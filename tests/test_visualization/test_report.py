"""The page in a browser: it draws, filters, sorts and turns pages, without an error."""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import pytest

from mmboxcaseg.visualization.report import Gallery, Instance, render_report

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None)
NASTY = '</script><script>document.title = "taken"</script>'
# Ends the page: uses it as a reader does and leaves what was seen.
STEPS = """<script>
const seen = {}, get = function (id) { return document.getElementById(id); };
function rows() {
  return Array.from(get("table").tBodies[0].rows, function (row) {
    return Array.from(row.cells, function (cell) { return cell.textContent; });
  });
}
function choose(id, value) { get(id).value = value;
  get(id).dispatchEvent(new Event("input", { bubbles: true })); }
function click(text) { Array.from(document.querySelectorAll("button")).find(function (button) {
  return button.textContent === text; }).click(); }
function note(name) { seen[name] = { where: get("where").textContent, rows: rows() }; }
note("opened");
click("Next"); note("second page");
click("quality"); note("best first");
choose("show", "dropped"); note("dropped");
choose("show", "fragments"); note("fragments");
choose("class", "dog"); note("fragments of dogs");
choose("class", ""); choose("show", ""); choose("size", "large"); note("large");
choose("size", ""); choose("text", "IMAGE 7.JPG"); note("of an image");
choose("text", "nowhere"); note("nothing");
choose("text", ""); click("id"); note("by id");
seen.title = document.title;
seen.widths = [innerWidth, document.documentElement.scrollWidth];
seen.svgs = Array.from(document.querySelectorAll("svg"), function (svg) {
  return svg.getBoundingClientRect().width; });
seen.links = Array.from(get("table").querySelectorAll("a"), function (link) {
  return [link.textContent, document.querySelector(link.getAttribute("href")) !== null]; });
seen.classes = Array.from(get("class").options, function (option) { return option.value; });
parent.document.getElementById("seen").textContent = JSON.stringify(seen);
</script>"""


def make_instance(number):
    """One of 120: the quality rises with the number, every tenth is of a class with a bad name."""
    return Instance(
        id=number,
        image=f'image {number}.jpg',
        category='dog' if number % 10 else NASTY,
        area=100.0 if number < 100 else 10_000.0,
        # Of the first one it is not known.
        quality=number / 120 if number else float('nan'),
        agreement=1.0,
        iou=float('nan'),
        kept=number >= 90,
        flaws=['fragments'] if number in (10, 11) else [],
    )


def make_page():
    instances = [make_instance(number) for number in range(120)]
    galleries = [Gallery('Some', 'of them', [(3, b''), (5, b''), (3, b'')])]
    return render_report('a.json', instances, galleries, min_quality=0.75, min_agreement=0.0)


@pytest.fixture(scope='module', params=[1280, 390], ids=['desktop', 'phone'])
def seen(request, tmp_path_factory):
    """What :data:`STEPS` saw."""
    if CHROMIUM is None:
        pytest.skip('there is no chromium: apt-get install chromium')
    folder = tmp_path_factory.mktemp('page')
    # A picture of nothing is no picture: it would be an error of the test's own.
    pixel = 'data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='
    text = make_page().replace('data:image/jpeg;base64,', pixel)
    # In a frame: a window of the browser's own is never as narrow as a phone.
    frame = (
        f'<iframe width="{request.param}" height="900" srcdoc="{escape(text + STEPS)}"></iframe>'
    )
    (folder / 'page.html').write_text(f'<!doctype html><pre id="seen"></pre>{frame}')
    options = ['--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr']
    options += [f'--user-data-dir={folder}', '--window-size=1400,1000', '--dump-dom']
    command = [CHROMIUM, *options, f'file://{folder}/page.html']
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    assert not complaints
    found = re.search('<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(unescape(found[1])) | dict(width=request.param)


def ids(step):
    return [int(row[0]) for row in step['rows']]


def test_in_a_browser_it_opens_with_the_worst(seen):
    assert seen['opened']['where'] == '120 of 120 masks, page 1 of 3'
    assert ids(seen['opened']) == [*range(1, 51)]
    assert seen['opened']['rows'][9] == [
        *('10', NASTY, '0.08', '1.00', 'dropped', 'fragments', 'small', 'image 10.jpg')
    ]


def test_in_a_browser_it_turns_pages_and_sorts(seen):
    assert ids(seen['second page']) == [*range(51, 101)]
    # What is sorted anew begins anew.
    assert seen['best first']['where'] == '120 of 120 masks, page 1 of 3'
    assert ids(seen['best first']) == [*range(119, 69, -1)]
    # As numbers, not as text.
    assert ids(seen['by id']) == [*range(50)]
    assert seen['by id']['rows'][0][2] == '–'


def test_in_a_browser_it_filters(seen):
    assert seen['dropped']['where'] == '90 of 120 masks, page 1 of 2'
    assert ids(seen['dropped']) == [*range(89, 39, -1)]
    assert ids(seen['fragments']) == [11, 10]
    assert ids(seen['fragments of dogs']) == [11]
    assert ids(seen['large']) == [*range(119, 99, -1)]
    assert ids(seen['of an image']) == [7]
    assert seen['nothing'] == dict(where='0 of 120 masks, page 1 of 1', rows=[])


def test_in_a_browser_it_fits_its_window(seen):
    width, needed = seen['widths']
    assert width == seen['width'] and needed <= width
    assert len(seen['svgs']) == 3 and all(200 < svg < seen['width'] for svg in seen['svgs'])


def test_in_a_browser_names_are_text_and_links_lead_to_pictures(seen):
    assert seen['title'] == 'Masks of a.json'
    assert seen['classes'] == ['', NASTY, 'dog']
    assert seen['links'] == [['3', True], ['5', True]]


def test_the_same_masks_make_the_same_page():
    assert make_page() == make_page()


def test_a_page_of_25_000_masks_is_small():
    instances = [make_instance(number % 120) for number in range(25_000)]
    text = render_report('a.json', instances, [], min_quality=0.75, min_agreement=0.0)
    assert '25,000 boxes on 120 images' in text and len(text) < 4_000_000
