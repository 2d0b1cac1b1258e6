#!/usr/bin/env python3
"""check-page.py PAGE: an HTML page is well-formed, refers to nothing outside itself and is readable without its drawings:
every element is closed in its order, ids are unique, drawings have labels, tables have captions and heads."""
import sys
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link", "circle", "line", "path", "rect"}
OPTIONAL_END = {"th", "td", "tr", "p", "li", "dt", "dd"}
OUTSIDE = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "background"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.errors, self.seen = [], [], {}

    def error_at(self, what):
        self.errors.append("line %d: %s" % (self.getpos()[0], what))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.seen.setdefault(tag, []).append(given)
        if len(given) != len(attributes):
            self.error_at("<%s> has an attribute twice" % tag)
        for name in given:
            if name in OUTSIDE or name.startswith("on"):
                self.error_at("<%s> has %s" % (tag, name))
        if tag in ("script", "link", "iframe", "object", "embed"):
            self.error_at("<%s>" % tag)
        if tag == "svg" and not (given.get("role") == "img" and given.get("aria-label")):
            self.error_at("a drawing without a label")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag and self.open[-1] in OPTIONAL_END:
            self.open.pop()
        if not self.open or self.open[-1] != tag:
            self.error_at("</%s> inside %s" % (tag, "/".join(self.open[-3:])))
        else:
            self.open.pop()


def main(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    page = Page()
    page.feed(text)
    page.close()
    errors = page.errors
    if page.open:
        errors.append("not closed: " + ", ".join(page.open))
    if not text.startswith("<!DOCTYPE html>"):
        errors.append("no doctype")
    if not any("viewport" == m.get("name") for m in page.seen.get("meta", [])):
        errors.append("no viewport")
    for tag in ("title", "h1", "main", "style"):
        if len(page.seen.get(tag, [])) != 1:
            errors.append("<%s> %d times" % (tag, len(page.seen.get(tag, []))))
    if "lang" not in page.seen["html"][0]:
        errors.append("no language")
    if text.count("<table") != text.count("<caption"):
        errors.append("a table without a caption")
    for part in ("http:", "https:", "url(", "@import"):
        if part in text:
            errors.append("refers to " + part)
    if errors:
        sys.exit("%s: %s" % (path, "; ".join(errors[:5])))


main(sys.argv[1])
