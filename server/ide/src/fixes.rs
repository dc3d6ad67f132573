//! Cures for problems: edits that an editor offers on them.

use std::ops::Range;

use vmtest_config::{KEYS, Key, Problem, suggest};

use crate::analysis::Analysis;
use crate::edit::Edit;
use crate::facts::lines_of;
use crate::model::{Entry, Field, Section, Table};

/// An edit that cures a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuickFix {
    /// What it does, as a menu says it.
    pub title: String,
    /// The code of the problem.
    pub code: &'static str,
    /// Where the problem is.
    pub problem: Range<usize>,
    /// Changes of the text as it is: their ranges do not overlap.
    pub edits: Vec<Edit>,
    /// Whether it is the one sensible cure.
    pub preferred: bool,
}

/// Problems whose cures are offered at once. Nobody reads a longer menu, and who selects all of a broken file does not
/// even want one.
const MOST_CURED: usize = 50;

/// A title and what it does.
type Cure = (String, Vec<Edit>);

impl Analysis {
    /// The cures of the problems that touch `span`, of the first ones where there are many.
    pub fn fixes(&self, span: Range<usize>) -> Vec<QuickFix> {
        let touches = |problem: &Problem| problem.span.start <= span.end && span.start <= problem.span.end;
        self.problems()
            .iter()
            .filter(|problem| touches(problem))
            .take(MOST_CURED)
            .flat_map(|problem| self.cures(problem))
            .collect()
    }

    fn cures(&self, problem: &Problem) -> Vec<QuickFix> {
        let mut cures: Vec<Cure> = Vec::new();
        if let Some(fix) = &problem.fix {
            cures.push((fix.title.clone(), vec![Edit::replace(fix.span.clone(), &fix.replacement)]));
        }
        let sure = match problem.code {
            "duplicate_key" => {
                cures.extend(self.remove(&problem.span));
                cures.extend(problem.related.iter().filter_map(|(first, _)| {
                    let (_, edits) = self.remove(first)?;
                    Some(("Remove the first one".to_owned(), edits))
                }));
                false
            }
            "several_systems" => {
                let given = problem.related.iter().map(|(span, _)| span).chain([&problem.span]);
                cures.extend(given.filter_map(|span| self.remove(span)));
                false
            }
            "duplicate_name" => {
                cures.extend(self.rename(&problem.span));
                true
            }
            "misplaced_key" => {
                cures.extend(self.relocate(&problem.span));
                cures.extend(self.remove(&problem.span));
                true
            }
            "missing_key" | "missing_system" => {
                cures.extend(self.add_missing(problem));
                problem.code == "missing_key"
            }
            "missing_companion" => {
                cures.extend(self.add_uefi(&problem.span));
                cures.extend(self.remove(&problem.span));
                false
            }
            "unknown_key" | "no_effect" => {
                cures.extend(self.remove(&problem.span));
                problem.fix.is_some()
            }
            _ => true,
        };
        let fix = |(at, (title, edits)): (usize, Cure)| QuickFix {
            title,
            code: problem.code,
            problem: problem.span.clone(),
            edits,
            preferred: sure && at == 0,
        };
        cures.into_iter().enumerate().map(fix).collect()
    }

    /// Takes a key and its value away, with its line where it has that for itself.
    fn remove(&self, key: &Range<usize>) -> Option<Cure> {
        let field = self.field_at(key.start)?;
        let entry = field.entry.filter(|_| field.inline == 0)?;
        Some((
            format!("Remove `{}`", field.part.name.escape_debug()),
            vec![Edit::delete(self.lines_of(entry))],
        ))
    }

    /// The lines of an entry, with the line break, where nothing else stands on them.
    fn lines_of(&self, entry: &Entry) -> Range<usize> {
        let text = self.text();
        let lines = lines_of(text, &entry.range);
        let before = text[lines.start..entry.range.start].trim();
        let after = text[entry.range.end..lines.end].trim();
        if before.is_empty() && (after.is_empty() || after.starts_with('#')) {
            lines.start..(lines.end + 1).min(text.len())
        } else {
            entry.range.clone()
        }
    }

    /// Gives a target a name that no other has.
    fn rename(&self, value: &Range<usize>) -> Option<Cure> {
        let section = self.section_at(value.end);
        let text = section.string("name")?;
        let names: Vec<_> = self.targets().into_iter().map(|target| target.name).collect();
        let free = (2..=names.len() + 2)
            .map(|number| format!("{} {number}", text.value))
            .find(|name| !names.contains(name))?;
        let number = free[text.value.len()..].to_owned();
        Some((format!("Call it `{}`", free.escape_debug()), vec![Edit::insert(text.content.end, number)]))
    }

    /// Moves a key to the table that it belongs into.
    fn relocate(&self, key: &Range<usize>) -> Option<Cure> {
        let field = self.field_at(key.start)?;
        if field.entry.is_none() {
            return self.move_table(&field);
        }
        let entry = field.entry.filter(|entry| field.inline == 0 && entry.path.len() == 1)?;
        let meant = suggest(field.parent, &field.part.name)?;
        let parent = meant.parent_path().filter(|parent| !parent.contains('*'))?;
        let own = self.section_at(key.end);
        let section =
            if own.name().is_empty() && own.tables.first().is_none_or(|table| table.header.is_none()) {
                self.target_sections().next()?
            } else {
                own
            };
        let value = &self.text()[entry.path[0].range.end..entry.range.end];
        let line = format!("{}{value}", meant.name());
        let insertion = match section.tables.iter().find(|table| is_table(table, parent)) {
            Some(table) => self.below(table, &line),
            None => Edit::insert(section.end(), format!("\n\n[{parent}]\n{line}")),
        };
        let removal = self.lines_of(entry);
        // The same place when the key is the last of its target: one edit then.
        let edits = if removal.start <= insertion.range.start && insertion.range.start < removal.end {
            let text = insertion.text.trim_start_matches('\n');
            vec![Edit::replace(removal, format!("\n{text}\n"))]
        } else {
            vec![Edit::delete(removal), insertion]
        };
        Some((format!("Move it to `{}`", meant.header()), edits))
    }

    /// `[vm]` below a target becomes `[target.vm]`.
    fn move_table(&self, field: &Field<'_>) -> Option<Cure> {
        let start = field.part.range.start;
        let below_target = self.target_sections().next().is_some_and(|first| first.range.start < start);
        let meant =
            suggest(field.parent, &field.part.name).filter(|_| below_target && field.parent.is_none())?;
        (meant.parent_path() == Some("target") && meant.name() == field.part.name)
            .then(|| (format!("Change it to `[{}]`", meant.path), vec![Edit::insert(start, "target.")]))
    }

    /// A line after the last one of a table.
    fn below(&self, table: &Table, line: &str) -> Edit {
        self.line_after(table.end(), line)
    }

    /// A line after the one that an offset is on.
    fn line_after(&self, offset: usize, line: &str) -> Edit {
        let rest = &self.text()[offset..];
        Edit::insert(offset + rest.find(['\r', '\n']).unwrap_or(rest.len()), format!("\n{line}"))
    }

    /// Writes what a target must have, right below its header.
    fn add_missing(&self, problem: &Problem) -> Vec<Cure> {
        let section = self.section_at(problem.span.end);
        let Some(table) = section.tables.first().filter(|table| table.header.is_some()) else {
            return Vec::new();
        };
        let add = |name: &str, value: &str| -> Cure {
            let line = format!("{name} = {value}");
            let edit = match name {
                "name" => self.line_after(section.header_range().end, &line),
                _ => self.below(table, &line),
            };
            (format!("Add `{name}`"), vec![edit])
        };
        if problem.code == "missing_system" {
            return ["kernel", "kernel_package", "image"]
                .iter()
                .filter_map(|name| Some(add(name, example(name)?)))
                .collect();
        }
        let missing =
            ["name", "command"].into_iter().find(|name| problem.message.contains(&format!("`{name}`")));
        let missing = missing.and_then(|name| Some((name, example(name)?)));
        missing.map(|(name, example)| add(name, example)).into_iter().collect()
    }

    /// `vm.bios` is for machines that start by UEFI.
    fn add_uefi(&self, key: &Range<usize>) -> Option<Cure> {
        let section = self.section_at(key.end);
        let is = |field: &Field<'_>, path| field.row.is_some_and(|row: &Key| row.in_target() == path);
        let fields = section.fields();
        let bios = fields.iter().any(|field| is(field, "vm.bios") && field.part.range.start == key.start);
        let uefi = fields.iter().any(|field| is(field, "uefi"));
        let table = section.tables.first().filter(|_| bios && !uefi && can_have_uefi(section))?;
        Some(("Add `uefi = true`".to_owned(), vec![self.below(table, "uefi = true")]))
    }
}

fn can_have_uefi(section: &Section) -> bool {
    section.value("image").is_some() || section.value("image_url").is_some()
}

fn example(name: &str) -> Option<&'static str> {
    KEYS.iter().find(|key| key.in_target() == name).map(|key| key.example)
}

/// Whether a table is the one with this path.
fn is_table(table: &Table, path: &str) -> bool {
    let header = table.header.iter().flat_map(|header| &header.path);
    header.map(|part| part.name.as_str()).eq(path.split('.'))
}
