"""The app's Android layer: its types against the stubs' signatures, its manifest and resources against Android 10's.

Nothing here runs on Android, and no stub is the library that it stands for (docs/android.md, "What is not verified").
"""

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edge.devices.adb.runners.app import ACTIVITY, ANSWERS, ASK
from tests.android.class_file import ClassFile, read_class
from tests.android.kotlin import APP, PROJECT, STUBS, MissingToolError, Tools, compiled_app, find_aapt2, setting

ANDROID = "{http://schemas.android.com/apk/res/android}"
MAIN = APP / "src" / "main"
MANIFEST = ElementTree.parse(MAIN / "AndroidManifest.xml").getroot()
CATALOG = tomllib.loads((PROJECT / "gradle" / "libs.versions.toml").read_text(encoding="utf-8"))
BUILD_FILES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PROJECT.rglob("build.gradle.kts")))
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(MAIN.rglob("*.kt")))


@pytest.fixture(scope="session")
def app(tools: Tools) -> Path:
    """Return the folder of the compiled app; skips, with the reason, where this machine cannot link resources."""
    try:
        aapt2 = find_aapt2()
    except MissingToolError as missing:
        pytest.skip(str(missing))
    return compiled_app(tools, aapt2)


@pytest.fixture(scope="session")
def classes(app: Path) -> dict[str, ClassFile]:
    """Return the app's classes by their names with dots."""
    found = [read_class(path.read_bytes()) for path in (app / "classes").rglob("*.class")]
    return {each.name.replace("/", "."): each for each in found}


def activities() -> dict[str, ElementTree.Element]:
    """Return the manifest's activities by class."""
    found = MANIFEST.findall("application/activity")
    return {f"{setting('namespace')}{node.attrib[f'{ANDROID}name']}": node for node in found}


def test_the_manifest_names_exactly_the_activities_that_there_are(classes: dict[str, ClassFile]) -> None:
    extending = {name for name, each in classes.items() if each.superclass.endswith("Activity")}
    assert extending == set(activities())


def test_views_that_layouts_name_are_there(classes: dict[str, ClassFile]) -> None:
    tags = {node.tag for path in MAIN.rglob("layout*/*.xml") for node in ElementTree.parse(path).iter()}
    named = {tag for tag in tags if "." in tag}
    assert named
    assert named - set(classes) == set()


def test_only_the_shell_may_start_a_measurement() -> None:
    started = {name for name, node in activities().items() if node.attrib.get(f"{ANDROID}exported") == "true"}
    guarded = {name for name in started if activities()[name].attrib.get(f"{ANDROID}permission")}
    assert {name.rpartition(".")[2] for name in started - guarded} == {"MainActivity"}
    permissions = [activities()[name].attrib[f"{ANDROID}permission"] for name in guarded]
    assert permissions == ["android.permission.DUMP"]


def test_dsnet_profile_asks_the_activity_that_there_is_in_the_words_that_it_reads() -> None:
    package, _, activity = ACTIVITY.partition("/")
    assert package == setting("applicationId")
    assert package + activity in activities()
    (source,) = MAIN.rglob(f"{activity.removeprefix('.')}.kt")
    read = re.findall(r'getStringExtra\("(\w+)"\)', source.read_text(encoding="utf-8"))
    assert read == re.findall(r"-e (\w+) ", ASK)
    (folder,) = re.findall(r'getExternalFilesDir\("(\w+)"\)', SOURCES)
    assert f"/sdcard/Android/data/{package}/files/{folder}" == ANSWERS


def test_the_app_asks_for_the_camera_alone_and_needs_none() -> None:
    asked = [node.attrib[f"{ANDROID}name"] for node in MANIFEST.findall("uses-permission")]
    assert asked == ["android.permission.CAMERA"]
    assert {node.attrib[f"{ANDROID}required"] for node in MANIFEST.findall("uses-feature")} == {"false"}


def test_portrait_and_landscape_have_the_same_views() -> None:
    def ids(folder: str) -> set[str]:
        root = ElementTree.parse(MAIN / "res" / folder / "main.xml")
        return {f"{node.tag} {node.attrib.get(f'{ANDROID}id', node.attrib.get('layout'))}" for node in root.iter()} - {
            ""
        }

    assert ids("layout") == ids("layout-land")


def test_what_has_no_text_can_be_read_aloud() -> None:
    silent = []
    for path in sorted(MAIN.rglob("layout*/*.xml")):
        nodes = list(ElementTree.parse(path).iter())
        labelled = {node.attrib.get(f"{ANDROID}labelFor", "").rpartition("/")[2] for node in nodes}
        for node in nodes:
            name = node.attrib.get(f"{ANDROID}id", "").rpartition("/")[2]
            if node.tag == "ImageView" and f"{ANDROID}contentDescription" not in node.attrib:
                silent.append(f"{path.name}: {name}")
            if node.tag == "Spinner" and name not in labelled:
                silent.append(f"{path.name}: {name}")
    assert silent == []


def test_every_resource_is_used() -> None:
    xml = "\n".join(path.read_text(encoding="utf-8") for path in sorted(MAIN.rglob("*.xml")))
    defined = {
        (node.tag, node.attrib["name"])
        for path in MAIN.rglob("values*/*.xml")
        for node in ElementTree.parse(path).getroot()
        if node.tag != "style"
    }
    unused = {
        name for kind, name in defined if f"R.{kind}.{name}" not in SOURCES and not re.search(rf"@{kind}/{name}\b", xml)
    }
    assert unused == set()


def test_stubs_say_what_they_are() -> None:
    heads = {path.read_text(encoding="utf-8").splitlines()[0] for path in STUBS.rglob("*.java")}
    assert len(heads) == 1
    assert "not the library's own source, never packaged" in heads.pop()
    assert "stubs" not in BUILD_FILES


def test_stubs_hold_only_what_the_app_uses(classes: dict[str, ClassFile]) -> None:
    # Constants are copied into the classes, so that their names are in the sources alone.
    used = "\n".join([SOURCES, *(name for each in classes.values() for name in each.mentioned)])
    stubs = {path: path.read_text(encoding="utf-8") for path in sorted(STUBS.rglob("*.java"))}
    unused = []
    for path, text in stubs.items():
        beside = "\n".join(other for where, other in stubs.items() if where != path)
        types = re.findall(r"\b(?:class|interface|enum) (\w+)", text)
        unused += [f"{path.stem}: {name}" for name in types if not has_word(used + beside, name)]
        methods = re.findall(r"(\w+)\([^;{]*\)(?: throws \w+)?;", text)
        fields = re.findall(r"^ +(?:public |static |final )+\w+ (\w+)(?: = .*)?;", text, re.MULTILINE)
        unused += [f"{path.stem}.{name}" for name in methods + fields if not is_used(used, name)]
    assert unused == []


def is_used(used: str, member: str) -> bool:
    """Return whether a member is used; Kotlin lets a property be set only where it can be read."""
    setter = re.sub(r"^(?:get|is)(?=[A-Z])", "set", member)
    return has_word(used, member) or has_word(used, setter)


def has_word(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text) is not None


def test_the_build_files_name_exactly_what_the_catalog_has() -> None:
    named = {name.replace("plugins.", "") for name in re.findall(r"\blibs\.([\w.]+)", BUILD_FILES)}
    kept = {key.replace("-", ".") for table in ("libraries", "plugins") for key in CATALOG[table]}
    assert named == kept
    versions = {each["version"]["ref"] for table in ("libraries", "plugins") for each in CATALOG[table].values()}
    assert versions == set(CATALOG["versions"])


@pytest.mark.parametrize("name", ["LiteRT", "ExecuTorch"])
def test_the_version_that_the_app_reports_for_a_runtime_is_the_one_it_is_built_with(name: str) -> None:
    assert re.findall(rf'"{name} ([\d.]+)"', SOURCES) == [CATALOG["versions"][name.lower()]]


def test_the_wrapper_that_gradle_would_write_is_the_one_that_is_there() -> None:
    properties = (PROJECT / "gradle" / "wrapper" / "gradle-wrapper.properties").read_text(encoding="utf-8")
    (version,) = re.findall(r'gradleVersion = "(.+)"', BUILD_FILES)
    (sha256,) = re.findall(r'distributionSha256Sum = "(.+)"', BUILD_FILES)
    assert f"/gradle-{version}-bin.zip\n" in properties
    assert f"distributionSha256Sum={sha256}\n" in properties
