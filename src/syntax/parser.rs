pub struct SyntaxError;
pub fn parse() {}
