//! What the lexer finds.

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

impl Token {
    pub fn is_name(&self, name: &str) -> bool {
        matches!(self, Token::Name(n) if n == name)
    }

    pub fn is_op(&self, op: &str) -> bool {
        matches!(self, Token::Op(o) if *o == op)
    }

    /// As error messages call it.
    pub fn describe(&self) -> String {
        match self {
            Token::Data(_) => "template data / text".into(),
            Token::VariableBegin => "begin of print statement".into(),
            Token::VariableEnd => "end of print statement".into(),
            Token::BlockBegin => "begin of statement block".into(),
            Token::BlockEnd => "end of statement block".into(),
            Token::Name(name) => name.clone(),
            Token::Str(_) => "string".into(),
            Token::Int(_) => "integer".into(),
            Token::Float(_) => "float".into(),
            Token::Op(op) => (*op).into(),
            Token::End => "end of template".into(),
        }
    }
}

/// A token and its line.
#[derive(Debug, Clone)]
pub struct Placed {
    pub token: Token,
    pub line: u32,
}
