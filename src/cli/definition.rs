//! What a flag is. Plain data, since every command defines its flags and few are asked for help: only then clap hears of
//! them, whose definitions cost more than `state` itself.

use clap::{Arg, ArgAction};

/// A flag as it is typed and explained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    short: Option<char>,
    /// What stands for its value in the help; none for a switch.
    placeholder: Option<&'static str>,
    help: &'static str,
    hidden: bool,
}

/// A flag that takes a value.
pub(super) const fn value(name: &'static str, placeholder: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, placeholder: Some(placeholder), help, hidden: false }
}

/// A flag that is there or not.
pub(super) const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, placeholder: None, help, hidden: false }
}

impl Flag {
    /// With a letter that means the same.
    pub(super) const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    /// Left out of the help.
    pub(super) const fn hide(self, hidden: bool) -> Self {
        Self { hidden, ..self }
    }

    /// Whether `name`, typed without its dashes, is this flag.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name || self.short.is_some_and(|letter| name.chars().eq([letter]))
    }

    /// Whether the next argument belongs to it.
    pub(super) const fn takes_value(&self) -> bool {
        self.placeholder.is_some()
    }

    fn argument(&self) -> Arg {
        let argument = Arg::new(self.name).long(self.name).help(self.help).hide(self.hidden);
        let argument = if let Some(letter) = self.short { argument.short(letter) } else { argument };
        match self.placeholder {
            Some(placeholder) => argument.value_name(placeholder).action(ArgAction::Set),
            None => argument.action(ArgAction::SetTrue),
        }
    }
}

/// The help for these flags, by a template of clap's.
pub(super) fn render_help(flags: &[Flag], template: String) -> String {
    let arguments = flags.iter().map(Flag::argument);
    clap::Command::new("onggi").args(arguments).help_template(template).render_help().to_string()
}
