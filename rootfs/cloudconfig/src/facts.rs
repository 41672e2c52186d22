//! What a machine's metadata says, for documents to name.

use std::net::IpAddr;

/// An address that a document may name as `$private_ipv4` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `$private_ipv4`
    PrivateIpv4,
    /// `$public_ipv4`
    PublicIpv4,
    /// `$private_ipv6`
    PrivateIpv6,
    /// `$public_ipv6`
    PublicIpv6,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PrivateIpv4, Self::PublicIpv4, Self::PrivateIpv6, Self::PublicIpv6];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrivateIpv4 => "private_ipv4",
            Self::PublicIpv4 => "public_ipv4",
            Self::PrivateIpv6 => "private_ipv6",
            Self::PublicIpv6 => "public_ipv6",
        }
    }
}

/// What is known of a machine besides its document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    addresses: [Option<IpAddr>; 4],
    /// Host name, for a document that gives none.
    pub hostname: Option<String>,
    /// Keys for the user `core`, each a line of `authorized_keys`.
    pub keys: Vec<String>,
}

impl Facts {
    /// An address, when it is known.
    pub fn get(&self, variable: Variable) -> Option<IpAddr> {
        self.addresses[variable as usize]
    }

    /// Notes an address; one of the wrong family is not taken.
    pub fn set(&mut self, variable: Variable, address: IpAddr) {
        let wants_v4 = matches!(variable, Variable::PrivateIpv4 | Variable::PublicIpv4);
        if address.is_ipv4() == wants_v4 {
            self.addresses[variable as usize] = Some(address);
        }
    }

    /// Takes what the other knows and this one does not.
    pub fn complete(&mut self, other: &Self) {
        for (own, more) in self.addresses.iter_mut().zip(other.addresses) {
            *own = own.or(more);
        }
        self.hostname = self.hostname.take().or_else(|| other.hostname.clone());
        if self.keys.is_empty() {
            self.keys.clone_from(&other.keys);
        }
    }

    /// As if every address were known: to judge a document for machines that know theirs. The
    /// addresses are those for documentation (RFC 5737, RFC 3849).
    pub fn assumed() -> Self {
        let mut facts = Self::default();
        let v4 = IpAddr::from([192, 0, 2, 1]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        for variable in Variable::ALL {
            facts.set(variable, v4);
            facts.set(variable, v6);
        }
        facts
    }

    /// Reads `NAME=ADDRESS` (`private_ipv4=10.0.0.1`). `None`: it is not of this form.
    pub fn read_assignment(&mut self, text: &str) -> Option<()> {
        let (name, address) = text.split_once('=')?;
        let variable = Variable::ALL.into_iter().find(|variable| variable.name() == name)?;
        let address: IpAddr = address.parse().ok()?;
        self.set(variable, address);
        (self.get(variable) == Some(address)).then_some(())
    }

    /// The lines of `/etc/environment` that `CoreOS` wrote: `COREOS_PRIVATE_IPV4=…`.
    pub fn environment(&self) -> Vec<(String, String)> {
        let known = |variable: Variable| {
            let address = self.get(variable)?;
            Some((format!("COREOS_{}", variable.name().to_ascii_uppercase()), address.to_string()))
        };
        Variable::ALL.into_iter().filter_map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_their_family() {
        let mut facts = Facts::default();
        assert_eq!(facts.read_assignment("private_ipv4=10.0.0.1"), Some(()));
        assert_eq!(facts.read_assignment("private_ipv6=10.0.0.1"), None);
        assert_eq!(facts.read_assignment("private_ipv4"), None);
        assert_eq!(facts.read_assignment("ipv4=10.0.0.1"), None);
        assert_eq!(facts.environment(), [("COREOS_PRIVATE_IPV4".to_owned(), "10.0.0.1".to_owned())]);
        facts.complete(&Facts::assumed());
        assert_eq!(facts.environment().len(), 4);
        assert_eq!(facts.get(Variable::PrivateIpv4), Some(IpAddr::from([10, 0, 0, 1])));
    }
}
