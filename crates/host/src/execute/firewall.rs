//! Steps at the installation's tables. Elements are changed in the transaction that waits; whole tables in their own.

use nix::errno::Errno;
use zdocker_net::firewall::Element;

use super::{At, Execution, Failure, Lane};
use crate::apply::StepError;
use crate::nft::batch::ALL_TABLES;
use crate::nft::element::Change;
use crate::nft::{element, load, whole};

impl Execution<'_> {
    /// Creates what is not there or damaged of the tables.
    pub(super) fn load_firewall(&mut self, step: usize) -> Result<(), Failure> {
        self.flush(step)?;
        self.load_tables().at(step)
    }

    fn load_tables(&mut self) -> Result<(), StepError> {
        let (socket, whose) = self.kernel.firewall()?;
        let damaged = whole::damaged_tables(socket, whose)?;
        if damaged.is_empty() {
            return Ok(());
        }
        let mut loaded = socket.request(load::create(whose, &damaged), |_, _| {});
        let cleaning = loaded.is_err();
        if matches!(&loaded, Err(error) if error.refusal() == Some(Errno::EEXIST)) {
            loaded = socket.request(load::replace(whose, &damaged, &[]), |_, _| {});
        }
        // What is refused or replaced the kernel cleans up behind; mostly there is nothing to be replaced.
        if cleaning {
            self.kernel.has_deleted_elements();
        }
        Ok(loaded?)
    }

    /// Replaces the tables by ones with these elements.
    pub(super) fn restore_firewall(&mut self, step: usize, elements: &[Element]) -> Result<(), Failure> {
        self.flush(step)?;
        self.kernel.has_deleted_elements();
        let at_once = self.kernel.portions(elements).at(step)?.len() <= 1;
        let (socket, whose) = self.kernel.firewall().at(step)?;
        let (with, after) = if at_once {
            (elements, &[][..])
        } else {
            (&[][..], elements)
        };
        let tables = load::replace(whose, &ALL_TABLES, with);
        socket.request(tables, |_, _| {}).at(step)?;
        self.change_elements(step, Change::Add, after)
    }

    pub(super) fn unload_firewall(&mut self, step: usize) -> Result<(), Failure> {
        self.flush(step)?;
        self.kernel.has_deleted_elements();
        let (socket, whose) = self.kernel.firewall().at(step)?;
        socket.request(load::unload(whose, &ALL_TABLES), |_, _| {}).at(step)
    }

    /// Adds or deletes elements; in several transactions, if the kernel does not let us send them all at once.
    pub(super) fn change_elements(&mut self, step: usize, change: Change, elements: &[Element]) -> Result<(), Failure> {
        if change == Change::Delete {
            self.kernel.has_deleted_elements();
        }
        let whose = self.kernel.installation().clone();
        let portions = self.kernel.portions(elements).at(step)?;
        let alone = portions.len() > 1;
        for portion in portions {
            if alone {
                self.flush(step)?;
            }
            self.request(step, &Lane::Firewall, |r| {
                element::push_all(r, &whose, change, portion);
            })?;
        }
        if alone { self.flush(step) } else { Ok(()) }
    }
}
