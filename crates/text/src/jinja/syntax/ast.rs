//! The tree of a template.

use std::sync::Arc;

pub type Name = Arc<str>;

#[derive(Debug)]
pub struct Expr {
    pub line: u32,
    /// How deep the tree below is.
    pub depth: u16,
    pub kind: ExprKind,
}

#[derive(Debug)]
pub enum ExprKind {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Name),
    Name(Name),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attr(Box<Expr>, Name),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Args),
    /// Without a value: of a `filter` block or a `set` block.
    Filter(Option<Box<Expr>>, Name, Args),
    Test(Box<Expr>, Name, Args),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    Concat(Vec<Expr>),
    If {
        test: Box<Expr>,
        yes: Box<Expr>,
        no: Option<Box<Expr>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug, Default)]
pub struct Args {
    pub positional: Vec<Expr>,
    pub named: Vec<(Name, Expr)>,
    /// `*list`
    pub more: Option<Box<Expr>>,
    /// `**dict`
    pub more_named: Option<Box<Expr>>,
}

/// What is assigned to.
#[derive(Debug)]
pub enum Target {
    Name(Name),
    /// `namespace.attribute`
    Attr(Name, Name),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub enum Stmt {
    Text(Name),
    Print(Expr),
    If {
        arms: Vec<(Expr, Vec<Stmt>)>,
        otherwise: Vec<Stmt>,
    },
    For(Arc<For>),
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Vec<Stmt>,
    },
    Macro(Arc<Macro>),
    CallBlock {
        call: Expr,
        caller: Arc<Macro>,
    },
    FilterBlock {
        filter: Expr,
        body: Vec<Stmt>,
    },
    With {
        pairs: Vec<(Target, Expr)>,
        body: Vec<Stmt>,
    },
    /// What the assistant says.
    Generation(Vec<Stmt>),
    AutoEscape {
        on: Expr,
        body: Vec<Stmt>,
    },
    /// A named block; without inheritance it is its content.
    Block(Vec<Stmt>),
    Break,
    Continue,
}

#[derive(Debug)]
pub struct For {
    pub line: u32,
    pub target: Target,
    pub iterable: Expr,
    pub test: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub struct Macro {
    pub name: Name,
    pub params: Vec<(Name, Option<Expr>)>,
    /// Whether the body speaks of `varargs`, `kwargs` and `caller`.
    pub varargs: bool,
    pub kwargs: bool,
    pub caller: bool,
    pub body: Vec<Stmt>,
}

impl ExprKind {
    /// Visits the expressions right below.
    pub fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        use ExprKind::*;
        match self {
            None | Bool(_) | Int(_) | Float(_) | Str(_) | Name(_) => {}
            Tuple(items) | List(items) | Concat(items) => items.iter().for_each(f),
            Dict(pairs) => pairs.iter().for_each(|(k, v)| {
                f(k);
                f(v);
            }),
            Attr(e, _) | Not(e) | Negative(e) | Positive(e) => f(e),
            Item(a, b) | Binary(_, a, b) | And(a, b) | Or(a, b) => {
                f(a);
                f(b);
            }
            Slice(e, parts) => {
                f(e);
                parts.iter().flatten().for_each(|e| f(e));
            }
            Call(e, args) | Test(e, _, args) => {
                f(e);
                args.each(f);
            }
            Filter(e, _, args) => {
                e.iter().for_each(|e| f(e));
                args.each(f);
            }
            Compare(e, rest) => {
                f(e);
                rest.iter().for_each(|(_, e)| f(e));
            }
            If { test, yes, no } => {
                f(test);
                f(yes);
                no.iter().for_each(|e| f(e));
            }
        }
    }
}

impl Args {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        self.positional.iter().for_each(&mut *f);
        self.named.iter().for_each(|(_, e)| f(e));
        self.more.iter().chain(&self.more_named).for_each(|e| f(e));
    }
}
