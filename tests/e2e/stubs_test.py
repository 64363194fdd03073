"""lua/meta/koan.lua as an editor reads it: every annotation fits its function, every type that is named exists."""
import os
import re
import unittest

from e2e.node import ROOT

BASIC = {"nil", "any", "boolean", "string", "number", "integer", "table", "fun", "function", "true", "false", "list", "T"}


def strip_texts(s):
    return re.sub(r'"[^"]*"', "string", s)


def type_of(text):
    """The type at the beginning of an annotation: it ends at a blank outside of brackets, unless | or , goes on."""
    depth, i = 0, 0
    while i < len(text):
        c = text[i]
        depth += c in "({<[" and 1 or -(c in ")}>]")
        if c == " " and depth == 0 and not re.match(r"\s*[|,]", text[i:]) and text[i - 1] not in "|,:":
            break
        i += 1
    return text[:i]


def names_in(t):
    t = strip_texts(t)
    t = re.sub(r"([A-Za-z_]\w*)\??\s*:(?!:)", "", t)  # names of members and parameters
    return set(re.findall(r"[A-Za-z_]\w*", t))


class Stubs(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(ROOT, "lua/meta/koan.lua")) as f:
            self.lines = f.read().split("\n")
        text = "\n".join(self.lines)
        self.types = BASIC | set(re.findall(r"---@(?:class|alias) (\w+)", text))

    def functions(self):
        """(line, annotations, parameters) of each function."""
        notes = []
        for n, line in enumerate(self.lines, 1):
            note = re.match(r"\s*---@(.*)", line)
            found = re.match(r"\s*(?:function [\w.:]+|\w+ = function) ?\(([^)]*)\) *end", line)
            if note:
                notes.append(note.group(1))
            elif found:
                yield n, notes, [p.strip() for p in found.group(1).split(",") if p.strip()]
                notes = []
            elif not re.match(r"\s*---", line):
                notes = []

    def test_parameters_are_described_under_their_names(self):
        count = 0
        for n, notes, parameters in self.functions():
            said = [re.match(r"param (\S+?)\??(?:\s|$)", x).group(1) for x in notes if x.startswith("param ")]
            self.assertEqual(said, [p for p in parameters if p in said], f"line {n}")
            missing = [p for p in parameters if p not in said and p != "..."]
            self.assertFalse(missing, f"line {n}: nothing is said of {missing}")
            count += 1
        self.assertGreater(count, 80)

    def test_types_that_are_named_exist(self):
        count = 0
        for n, line in enumerate(self.lines, 1):
            note = re.match(r"\s*---@(field|param|return|type|alias|overload) (.*)", line)
            if not note:
                continue
            kind, rest = note.groups()
            if kind in ("field", "param", "alias"):
                rest = rest.split(" ", 1)[1]
            self.assertFalse(names_in(type_of(rest)) - self.types - {"string"}, f"line {n}: {type_of(rest)}")
            count += 1
        self.assertGreater(count, 250)

    def test_brackets_close(self):
        for n, line in enumerate(self.lines, 1):
            note = re.match(r"\s*---@(?:field|param|return|type|alias|overload) (.*)", line)
            if note:
                t = strip_texts(note.group(1))
                for a, b in ("()", "{}", "[]", "<>"):
                    self.assertEqual(t.count(a), t.count(b), f"line {n}")


if __name__ == "__main__":
    unittest.main()
