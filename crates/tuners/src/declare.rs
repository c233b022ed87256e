//! The declaration of configurations.

/// Declares a configuration:
///
/// ```ignore
/// config! {
///     /// What the kind of tuner does.
///     pub struct HraConfig {
///         standard: [target_modules, exclude_modules, bias];
///         /// What the field means.
///         r: usize = 8, in 1..;
///         /// A field whose name in Python is no Rust name.
///         apply_gs as "apply_GS": bool = false;
///     }
/// }
/// ```
///
/// `standard` lists fields of [`crate::standard`] that the class has, too.
#[macro_export]
macro_rules! config {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@default $type:ty) => { serde_json::Value::Null };
    (@default $type:ty, $default:expr) => {{
        let default: $type = $default;
        $crate::fields::FieldType::json(&default)
    }};
    (
        $(#[$about:meta])*
        $vis:vis struct $config:ident {
            standard: [$($standard:ident),* $(,)?];
            $(.. $part:ident : $part_type:ty;)*
            $(
                $(#[doc = $doc:literal])*
                $field:ident $(as $name:literal)? : $type:ty $(= $default:expr)? $(, in $range:expr)?;
            )*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        #[allow(dead_code)] // some fields say only how Python wraps a model
        $vis struct $config {
            $( pub $part: $part_type, )*
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl $crate::fields::Fields for $config {
            fn declared() -> Vec<$crate::fields::Declared> {
                #[allow(unused_mut)]
                let mut out = $crate::standard::declared(&[$(stringify!($standard)),*]);
                $(out.extend(<$part_type as $crate::fields::Fields>::declared());)*
                $(
                    let name = $crate::config!(@name $field $($name)?);
                    out.retain(|d| d.name != name); // its own declaration of a standard field
                    out.push($crate::fields::Declared {
                        name,
                        doc: $crate::fields::doc(&[$($doc),*]),
                        typescript: <$type as $crate::fields::FieldType>::typescript(),
                        default: $crate::config!(@default $type $(, $default)?),
                        required: <$type as $crate::fields::FieldType>::REQUIRED,
                    });
                )*
                out
            }

            fn read(config: &$crate::config::TunerConfig) -> swift_tuners_nn::Result<Self> {
                $crate::standard::check(config, &[$(stringify!($standard)),*])?;
                $(let $part = <$part_type as $crate::fields::Fields>::read(config)?;)*
                $(
                    let $field: $type = {
                        let name = $crate::config!(@name $field $($name)?);
                        let value = config.fields.get(name).unwrap_or(&serde_json::Value::Null);
                        let value = <$type as $crate::fields::FieldType>::read(name, value)?;
                        $($crate::fields::check_range(name, &value, &($range))?;)?
                        value
                    };
                )*
                Ok(Self { $($part,)* $($field),* })
            }
        }
    };
}

/// Declares an enum of words and of true and false: `choices! { Start { Zero = true, Random = false, Bat = "bat" } }`.
#[macro_export]
macro_rules! choices {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $value:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$variant_doc])* $variant),* }

        impl $crate::fields::FieldType for $name {
            const WANTED: &'static str = concat!("one of" $(, " ", stringify!($value))*);
            fn typescript() -> String {
                [$(serde_json::Value::from($value).to_string().replace('"', "'")),*].join(" | ")
            }
            fn of(value: &serde_json::Value) -> Option<Self> {
                [$((serde_json::Value::from($value), Self::$variant)),*].into_iter().find(|(v, _)| v == value).map(|(_, it)| it)
            }
            fn json(&self) -> serde_json::Value {
                match self {
                    $(Self::$variant => $value.into()),*
                }
            }
        }
    };
}

/// Declares an enum of words: `words! { Act { Gelu = "gelu", Relu = "relu" } }`.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$variant_doc])* $variant),* }

        impl $crate::fields::FieldType for $name {
            const WANTED: &'static str = concat!("one of ", $("\"", $word, "\" ",)* "as a string");
            fn typescript() -> String {
                [$(concat!("'", $word, "'")),*].join(" | ")
            }
            fn of(value: &serde_json::Value) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
            fn json(&self) -> serde_json::Value {
                match self {
                    $(Self::$variant => $word.into()),*
                }
            }
        }
    };
}

/// Declares an object inside of a configuration, with its defaults: a field's type whose own fields keep Python's names.
///
/// ```ignore
/// object! {
///     /// What it sets.
///     pub struct KasaConfig {
///         /// What the field means.
///         beta: f64 = 1e-4, in 0. ..;
///     }
/// }
/// ```
///
/// `check` after the fields names a function of the whole that says what is wrong with it.
#[macro_export]
macro_rules! object {
    (
        $(#[$about:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident : $type:ty = $default:expr $(, in $range:expr)?;
            )*
        }
        $(check $check:path;)?
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        #[allow(dead_code)] // some say only how Python runs
        $vis struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }

        impl $crate::fields::FieldType for $name {
            const WANTED: &'static str = "an object";
            fn typescript() -> String {
                let mut out = String::from("{ ");
                $(
                    let optional = <$type as $crate::fields::FieldType>::typescript();
                    if !optional.is_empty() {
                        out.push_str(&format!("{}?: {optional}; ", stringify!($field)));
                    }
                )*
                out.trim_end_matches("; ").trim_end().to_owned() + " }"
            }
            fn of(value: &serde_json::Value) -> Option<Self> {
                Self::read("", value).ok()
            }
            fn json(&self) -> serde_json::Value {
                let mut out = serde_json::Map::new();
                $(out.insert(stringify!($field).to_owned(), $crate::fields::FieldType::json(&self.$field));)*
                serde_json::Value::Object(out)
            }
            fn read(name: &str, value: &serde_json::Value) -> swift_tuners_nn::Result<Self> {
                let map = $crate::fields::object_fields(name, value, &[$(stringify!($field)),*])?;
                let object = Self {
                    $($field: {
                        let path = format!("{name}.{}", stringify!($field));
                        match map.get(stringify!($field)) {
                            Some(given) => {
                                let value = <$type as $crate::fields::FieldType>::read(&path, given)?;
                                $($crate::fields::check_range(&path, &value, &($range))?;)?
                                value
                            }
                            None => $default,
                        }
                    }),*
                };
                $($check(name, &object)?;)?
                Ok(object)
            }
        }
    };
}
