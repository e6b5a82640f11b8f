"""A strict reader of HTML pages: each tag is closed where it has to be."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "input", "link"}


@dataclass
class Tag:
    """An element; its children are elements and texts."""

    name: str
    attrs: dict
    children: list = field(default_factory=list)

    def all(self, *names):
        """All elements below it with one of these names (any without), in order."""
        found = []
        for child in self.children:
            if isinstance(child, Tag):
                found += [child] if not names or child.name in names else []
                found += child.all(*names)
        return found

    def within(self, kind, *names):
        """The elements below those of a class, or below the one of an id."""
        inside = [
            tag
            for tag in self.all()
            if kind in tag.attrs.get("class", "").split() or tag.attrs.get("id") == kind
        ]
        return [tag for outer in inside for tag in outer.all(*names)]

    def rows(self, kind):
        """The texts of the cells of the tables within an id, row by row."""
        rows = self.within(kind, "tr")
        return [[cell.text.strip() for cell in row.all("td", "th")] for row in rows]

    @property
    def text(self):
        return "".join(c.text if isinstance(c, Tag) else c for c in self.children)


class Reader(HTMLParser):
    """Builds the tree; refuses tags that are not closed, or closed in another order."""

    def __init__(self):
        super().__init__()
        self.root = Tag("", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"twice in {tag}: {attrs}"
        made = Tag(tag, dict(attrs))
        self.open[-1].children.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Tag(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)


def read_page(text):
    """The tree of a page; see `Reader`."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root], f"not closed: {reader.open[-1].name}"
    return reader.root
