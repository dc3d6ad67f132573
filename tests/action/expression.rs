//! As much of GitHub's expressions as the action uses; anything else fails the test.

use serde_json::{Map, Value};

/// What expressions can name: `inputs`, `steps`, `github`, `runner`.
pub(crate) type Contexts = Map<String, Value>;

/// `text` with every `${{ … }}` replaced by its value.
pub(crate) fn fill(text: &str, contexts: &Contexts) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) =
            after.split_once("}}").unwrap_or_else(|| panic!("an open expression: {text}"));
        filled.push_str(before);
        filled.push_str(&words(&evaluate(expression, contexts)));
        rest = after;
    }
    filled + rest
}

/// Whether the `if` of a step lets it run.
pub(crate) fn holds(condition: &str, contexts: &Contexts) -> bool {
    fill(condition, contexts) == "true"
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn evaluate(text: &str, contexts: &Contexts) -> Value {
    let mut parser = Parser { rest: text, contexts };
    let value = parser.all();
    assert!(parser.rest.trim().is_empty(), "this is not understood: {} in {text}", parser.rest);
    value
}

struct Parser<'t> {
    rest: &'t str,
    contexts: &'t Contexts,
}

impl Parser<'_> {
    /// Comparisons, joined by `&&`.
    fn all(&mut self) -> Value {
        let mut value = self.comparison();
        while self.takes("&&") {
            let next = self.comparison();
            value = Value::Bool(value == Value::Bool(true) && next == Value::Bool(true));
        }
        value
    }

    fn comparison(&mut self) -> Value {
        let left = self.operand();
        if self.takes("==") {
            Value::Bool(words(&left) == words(&self.operand()))
        } else if self.takes("!=") {
            Value::Bool(words(&left) != words(&self.operand()))
        } else {
            left
        }
    }

    fn operand(&mut self) -> Value {
        if self.takes("'") {
            let (text, rest) = self.rest.split_once('\'').expect("a string has an end");
            self.rest = rest;
            return Value::String(text.to_owned());
        }
        if self.takes("toJSON(") {
            let value = self.operand();
            assert!(self.takes(")"), "toJSON( has no end");
            return Value::String(format!("{value:#}"));
        }
        self.named()
    }

    fn named(&mut self) -> Value {
        self.rest = self.rest.trim_start();
        let end =
            self.rest.find(|c: char| !(c.is_alphanumeric() || "._-".contains(c))).unwrap_or(self.rest.len());
        let (path, rest) = self.rest.split_at(end);
        self.rest = rest;
        let mut names = path.split('.');
        let first = names.next().unwrap_or_default();
        let mut value =
            self.contexts.get(first).unwrap_or_else(|| panic!("there is no context for `{path}`"));
        for (depth, name) in names.enumerate() {
            match value.get(name) {
                Some(inner) => value = inner,
                // What a step did not write is empty; a step or an input that is not there is a mistake.
                None if first == "steps" && depth == 2 => return Value::Null,
                None => panic!("there is no `{path}`"),
            }
        }
        value.clone()
    }

    fn takes(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        if let Some(rest) = rest {
            self.rest = rest;
        }
        rest.is_some()
    }
}

#[test]
fn expressions_have_the_values_that_github_gives_them() {
    let contexts = serde_json::json!({
        "inputs": { "a": "1", "b": "" },
        "steps": { "s": { "outputs": { "x": "a\nb" } } },
    });
    let contexts = contexts.as_object().unwrap();
    assert_eq!(fill("-${{ inputs.a }}-${{inputs.b}}-${{ steps.s.outputs.none }}-", contexts), "-1---");
    assert_eq!(fill("${{ toJSON(steps.s.outputs) }}", contexts), "{\n  \"x\": \"a\\nb\"\n}");
    assert!(holds("${{ inputs.a == '1' && inputs.b == '' }}", contexts));
    assert!(!holds("${{ inputs.a != '1' }}", contexts));
}
