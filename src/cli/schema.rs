//! `erpgate schema`: the JSON Schema of a file, for editors.

use super::{DONE, FAILED, SchemaFile};
use crate::config::schema;
use std::io::Write;

/// Prints the schema. Returns the exit status.
pub fn schema(file: SchemaFile) -> u8 {
    let schema = match file {
        SchemaFile::Gateway => schema::gateway(),
        SchemaFile::Policy => schema::policy(),
        SchemaFile::Profile => schema::profile(),
    };
    let printed = writeln!(std::io::stdout().lock(), "{schema:#}");
    if printed.is_ok() { DONE } else { FAILED }
}
