//! Chains and their calls.

use std::sync::Arc;

use super::super::signature::{Artifact, Kind, ParameterType, Signature};
use super::build::{Builder, Gives};
use super::{Index, SymbolId, SymbolKind, Target};
use crate::syntax::ast;

/// What is called.
pub(super) enum Callee<'a> {
    Method(&'a Signature),
    /// A recipe of this file, or of a module; behind an arrow or not.
    Recipe {
        /// The module and its index, when it is not of this file.
        module: Option<(SymbolId, Arc<Index>)>,
        recipe: SymbolId,
        piped: bool,
    },
}

/// What is known of a value by where it stands.
#[derive(Clone)]
pub(super) struct Slot {
    pub ty: ParameterType,
    /// The parameter.
    pub target: Target,
}

/// Whether a recipe's parameter may be given by its place.
pub fn by_place(ty: &ParameterType) -> bool {
    matches!(
        ty,
        ParameterType::Artifact(_) | ParameterType::DeltaName | ParameterType::Delta | ParameterType::Recipe(_)
    )
}

impl<'a> Builder<'a> {
    pub(super) fn chain(&mut self, chain: &'a ast::Chain) -> Gives {
        let mut gives = Gives::Nothing;
        for (position, link) in chain.links.iter().enumerate() {
            gives = self.link(link, position == 0);
        }
        gives
    }

    fn link(&mut self, link: &'a ast::Link, begins: bool) -> Gives {
        match link {
            ast::Link::Call(call) => self.call(call, begins),
            ast::Link::Each(each) => {
                let outside = self.locals.len();
                let mut variables = vec![];
                for variable in &each.variables {
                    // The values are read outside.
                    let ty = self.values(&variable.values);
                    let id = self.variable(&variable.name);
                    self.index.symbols[id].value_type = ty.map(str::to_owned);
                    variables.push((variable.name.text.as_str(), id));
                }
                self.locals.extend(variables);
                self.calls(&each.body, begins);
                self.locals.truncate(outside);
                Gives::Artifact(Artifact::Models)
            }
            ast::Link::If(choice) => {
                self.condition(&choice.condition);
                let gives = self.calls(&choice.then, begins);
                self.calls(&choice.otherwise, begins);
                gives
            }
            ast::Link::Models(models) => {
                for member in &models.members {
                    self.calls(&member.calls, true);
                }
                Gives::Artifact(Artifact::Models)
            }
        }
    }

    fn calls(&mut self, calls: &'a [ast::Call], begins: bool) -> Gives {
        let mut gives = Gives::Nothing;
        for (position, call) in calls.iter().enumerate() {
            gives = self.call(call, begins && position == 0);
        }
        gives
    }

    fn call(&mut self, call: &'a ast::Call, begins: bool) -> Gives {
        let name = call.name.text.as_str();
        let arguments = call.arguments.as_deref().unwrap_or(&[]);
        if let (Some(ty), None) = (super::values::literal_type(name), &call.arguments) {
            self.mention(call.name.span, Target::Literal);
            return Gives::Value(ty);
        }
        if let Some((module, member)) = name.split_once('.') {
            let found = self.path(module, member, call.name.span);
            let gives = found.as_ref().and_then(|(_, index, symbol)| index.symbols[*symbol].artifact);
            let callee = found.map(|(module, index, recipe)| Callee::Recipe {
                module: Some((module, index)),
                recipe,
                piped: !begins,
            });
            self.arguments(callee.as_ref(), arguments);
            return gives.map_or(Gives::Nothing, Gives::Artifact);
        }
        let method = self.registry.get(name);
        // As `lang::chain` has it: a declared name begins a chain where it can't be a call; behind an arrow a stage comes
        // first.
        let declared = self.lookup(name).filter(|_| {
            method.is_none_or(|method| call.arguments.is_none() && (begins || method.kind == Kind::Source))
        });
        let (target, gives, callee) = match (declared, method) {
            (Some(symbol), _) => {
                let callee = Callee::Recipe { module: None, recipe: symbol, piped: !begins };
                // A recipe that is a parameter makes a model, whichever it is.
                let gives = match self.index.symbols[symbol].kind {
                    SymbolKind::Parameter if !begins => Gives::Artifact(Artifact::Model),
                    _ => Gives::SameAs(symbol),
                };
                (Target::Symbol(symbol), gives, Some(callee))
            }
            (None, Some(method)) => {
                (Target::Method(method.name), Gives::Artifact(method.output), Some(Callee::Method(method)))
            }
            (None, None) => (Target::Unknown, Gives::Nothing, None),
        };
        self.mention(call.name.span, target);
        self.arguments(callee.as_ref(), arguments);
        gives
    }

    pub(super) fn arguments(&mut self, callee: Option<&Callee<'a>>, arguments: &'a [ast::Argument]) {
        let mut position = 0;
        let mut delta = None;
        for argument in arguments {
            let slot = match &argument.name {
                Some(name) => {
                    let own = callee.and_then(|callee| self.named_slot(callee, &name.text));
                    let slot = own.or_else(|| self.named_slot(&Callee::Method(delta?), &name.text));
                    self.mention(name.span, slot.as_ref().map_or(Target::Unknown, |slot| slot.target.clone()));
                    slot
                }
                None => {
                    position += 1;
                    callee.and_then(|callee| self.positional_slot(callee, position - 1))
                }
            };
            if let (Some(Slot { ty: ParameterType::Delta, .. }), ast::ValueKind::Word(name)) =
                (&slot, &argument.value.kind)
            {
                delta = self.registry.get(name);
            }
            self.value(&argument.value, slot.as_ref());
        }
    }

    fn named_slot(&self, callee: &Callee, name: &str) -> Option<Slot> {
        match callee {
            Callee::Method(method) => {
                let parameter = method.parameter(name)?;
                let target = Target::Parameter { method: method.name, parameter: parameter.name };
                Some(Slot { ty: parameter.ty.clone(), target })
            }
            Callee::Recipe { .. } => self.recipe_slots(callee, |_, parameter| parameter.name.text == name),
        }
    }

    fn positional_slot(&self, callee: &Callee, position: usize) -> Option<Slot> {
        match callee {
            Callee::Method(method) => {
                let parameter = method.parameters.iter().filter(|parameter| parameter.positional).nth(position)?;
                let target = Target::Parameter { method: method.name, parameter: parameter.name };
                Some(Slot { ty: parameter.ty.clone(), target })
            }
            Callee::Recipe { .. } => self.recipe_slots(callee, |at, _| at == Some(position)),
        }
    }

    /// The first parameter of a recipe that is wanted, which is told its place among those that have one.
    fn recipe_slots(&self, callee: &Callee, wanted: impl Fn(Option<usize>, &super::Symbol) -> bool) -> Option<Slot> {
        let Callee::Recipe { module, recipe, piped } = callee else { return None };
        let index = module.as_ref().map_or(&self.index, |(_, index)| index);
        let mut left = *piped;
        let mut places = 0;
        for (id, parameter) in index.symbols.iter().enumerate().filter(|(_, symbol)| symbol.recipe == Some(*recipe)) {
            let Some(ty) = &parameter.ty else { continue };
            // Behind an arrow, the first model stands left of it.
            if left && *ty == ParameterType::Artifact(Artifact::Model) {
                left = false;
                continue;
            }
            let place = by_place(ty).then_some(places);
            places += usize::from(place.is_some());
            if wanted(place, parameter) {
                let target = match module {
                    Some((module, _)) => Target::Member { module: *module, symbol: id },
                    None => Target::Symbol(id),
                };
                return Some(Slot { ty: ty.clone(), target });
            }
        }
        None
    }
}
