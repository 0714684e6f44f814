//! Reading `config.json`: typed settings with the defaults of `transformers`.

use serde_json::Value;

use super::error::ModelError;

/// The settings of a model. A setting may have several spellings (`hidden_size`, `dim`): the first one present counts.
/// `null` is as good as absent.
pub(super) struct Settings<'a>(pub &'a Value);

impl<'a> Settings<'a> {
    fn find(&self, keys: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        keys.iter().filter_map(|key| Some((*key, self.0.get(key)?))).find(|(_, value)| !value.is_null())
    }

    fn read<T>(
        &self,
        keys: &[&'static str],
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some((key, value)) = self.find(keys) else { return Ok(None) };
        let bad = || ModelError::BadSetting { key: key.into(), found: value.to_string(), expected: expected.into() };
        read(value).map(Some).ok_or_else(bad)
    }

    /// A number of things, at least one.
    pub fn size(&self, keys: &[&'static str], default: usize) -> Result<usize, ModelError> {
        let read = |value: &Value| value.as_u64().filter(|size| (1..=u64::from(u32::MAX)).contains(size));
        Ok(self.read(keys, "a whole number from 1", read)?.map_or(default, |size| size as usize))
    }

    /// The id of a token, which `null` takes away.
    pub fn token(&self, key: &'static str, default: usize) -> Result<Option<usize>, ModelError> {
        if self.0.get(key).is_some_and(Value::is_null) {
            return Ok(None);
        }
        let read = |value: &Value| value.as_u64().filter(|id| *id <= u64::from(u32::MAX));
        Ok(Some(self.read(&[key], "a token id", read)?.map_or(default, |id| id as usize)))
    }

    /// A positive number.
    pub fn number(&self, keys: &[&'static str], default: f32) -> Result<f32, ModelError> {
        let read = |value: &Value| value.as_f64().filter(|number| *number > 0.0);
        Ok(self.read(keys, "a number above 0", read)?.map_or(default, |number| number as f32))
    }

    pub fn probability(&self, keys: &[&'static str], default: f32) -> Result<f32, ModelError> {
        let read = |value: &Value| value.as_f64().filter(|number| (0.0..1.0).contains(number));
        Ok(self.read(keys, "a probability from 0 to below 1", read)?.map_or(default, |number| number as f32))
    }

    pub fn flag(&self, key: &'static str, default: bool) -> Result<bool, ModelError> {
        Ok(self.read(&[key], "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub fn text(&self, keys: &[&'static str], default: &'a str) -> Result<&'a str, ModelError> {
        Ok(self.read(keys, "a string", Value::as_str)?.unwrap_or(default))
    }

    /// Refuses a setting with any other value than `only`.
    pub fn require(&self, key: &'static str, only: Value, help: &str) -> Result<(), ModelError> {
        match self.find(&[key]) {
            Some((_, value)) if *value != only => {
                let (key, value, help) = (key.into(), value.to_string(), help.into());
                Err(ModelError::UnsupportedSetting { key, value, help })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_spelling_present_counts_and_null_is_absent() {
        let config = json!({"dim": null, "hidden_size": 12, "p": 0.5});
        let settings = Settings(&config);
        assert_eq!(settings.size(&["dim", "hidden_size"], 768), Ok(12));
        assert_eq!(settings.size(&["n_layers"], 6), Ok(6));
        assert_eq!(settings.probability(&["q", "p"], 0.1), Ok(0.5));
    }

    #[test]
    fn settings_out_of_range_name_their_key() {
        let config = json!({"hidden_size": 0, "dropout": 1.0, "hidden_act": 3});
        let settings = Settings(&config);
        for error in [
            settings.size(&["hidden_size"], 1).unwrap_err(),
            settings.probability(&["dropout"], 0.1).unwrap_err(),
            settings.text(&["hidden_act"], "gelu").unwrap_err(),
        ] {
            let ModelError::BadSetting { key, .. } = &error else { panic!("{error}") };
            assert!(config.get(key).is_some());
        }
    }

    #[test]
    fn a_padding_token_can_be_taken_away() {
        assert_eq!(Settings(&json!({"pad_token_id": null})).token("pad_token_id", 0), Ok(None));
        assert_eq!(Settings(&json!({})).token("pad_token_id", 1), Ok(Some(1)));
    }
}
