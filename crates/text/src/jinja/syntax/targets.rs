//! What is assigned to.

use super::ast::Target;
use super::expressions::Until;
use super::parser::Parser;
use super::token::Token;
use crate::error::Result;

impl Parser {
    /// What is assigned to: a name, one of a namespace (`spaces`), or several.
    pub fn target(&mut self, spaces: bool, until: Until) -> Result<Target> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            let over = matches!(self.now(), Token::BlockEnd)
                || self.now().is_op(")")
                || (until == Until::In && self.now().is_name("in"));
            if over {
                break;
            }
            items.push(if self.skip_op("(") {
                let inner = self.inside(|p| p.target(spaces, Until::Tag))?;
                self.expect_op(")")?;
                inner
            } else {
                let name = self.name()?;
                if matches!(&*name, "true" | "false" | "none" | "True" | "False" | "None") {
                    return Err(self.error("can't assign to 'const'"));
                }
                if spaces && self.skip_op(".") {
                    self.names.push(name.clone());
                    Target::Attr(name, self.name()?)
                } else {
                    Target::Name(name)
                }
            });
            if !self.skip_op(",") {
                break;
            }
            is_tuple = true;
        }
        match items.pop() {
            Some(only) if !is_tuple => Ok(only),
            Some(last) => {
                items.push(last);
                Ok(Target::Tuple(items))
            }
            None => Err(self.error(format!("Expected an expression, got '{}'", self.now().describe()))),
        }
    }
}
