//! Leases: who holds which address of a subnet, beside the bitmap that says which are free.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rusqlite::{OptionalExtension, params};
use zdocker_net::ipam::{self, BLOCK_BYTES, Block, Blocks};
use zdocker_net::model::{InterfaceAddress, Network, Pool, UnixNanos};
use zdocker_net::names::Id;
use zdocker_net::subnet::Subnet;

use super::{Records, StoreError};

/// An address that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// The endpoint that holds it; `None` for the gateway and reserved addresses.
    pub holder: Option<Id>,
    /// Since when.
    pub since: UnixNanos,
}

/// Why an address could not be leased.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Another endpoint, or the gateway, has it, or it is reserved.
    #[error("address {0} is in use already")]
    Taken(IpAddr),
    /// No pool has it.
    #[error("address {0} is in no subnet of the network; leave it out, or give one that is")]
    Outside(IpAddr),
    /// None is left.
    #[error("no address is left in {places}: {used} are in use; remove containers, or use a larger subnet")]
    Exhausted {
        /// The subnets, or the ranges of them, that were looked in.
        places: String,
        /// How many addresses are leased.
        used: u32,
    },
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AddressError {
    fn from(error: rusqlite::Error) -> Self {
        AddressError::Store(error.into())
    }
}

/// How much of a subnet is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Every lease, in the order of the addresses.
    pub leases: Vec<Lease>,
    /// The blocks that were ever needed, in order.
    pub blocks: Vec<Block>,
}

/// The blocks of one subnet in the database.
struct StoredBlocks<'a, 't> {
    records: &'a Records<'t>,
    subnet: String,
}

impl Blocks for StoredBlocks<'_, '_> {
    type Error = StoreError;

    fn load(&mut self, number: u128) -> Result<Option<Block>, StoreError> {
        let query = "SELECT bitmap FROM blocks WHERE subnet = ?1 AND number = ?2";
        let mut statement = self.records.transaction.prepare_cached(query)?;
        let bitmap: Option<[u8; BLOCK_BYTES]> = statement
            .query_row(params![self.subnet, number.to_be_bytes()], |row| row.get(0))
            .optional()?;
        Ok(bitmap.map(|bitmap| Block::from_bytes(number, &bitmap)))
    }

    fn save(&mut self, block: &Block) -> Result<(), StoreError> {
        let query = "INSERT INTO blocks (subnet, number, bitmap) VALUES (?1, ?2, ?3)
                     ON CONFLICT (subnet, number) DO UPDATE SET bitmap = excluded.bitmap";
        let mut statement = self.records.transaction.prepare_cached(query)?;
        statement.execute(params![self.subnet, block.number().to_be_bytes(), block.to_bytes()])?;
        Ok(())
    }
}

/// The pools of a network that stand in for each other; IPv4 first, and in the order of their numbers.
fn sets(network: &Network) -> Vec<Vec<&Pool>> {
    let of_family = |family| {
        let pools: Vec<&Pool> = network.pools_of(family).collect();
        let numbers: BTreeSet<u8> = pools.iter().map(|pool| pool.set).collect();
        let of_set = move |number| pools.iter().copied().filter(|pool| pool.set == number).collect();
        numbers.into_iter().map(of_set).collect::<Vec<_>>()
    };
    network.families().flat_map(of_family).collect()
}

impl Records<'_> {
    fn blocks(&self, subnet: &Subnet) -> StoredBlocks<'_, '_> {
        StoredBlocks {
            records: self,
            subnet: subnet.to_string(),
        }
    }

    /// Takes the addresses of a pool that no endpoint is to have: its gateway's and the reserved ones.
    pub(super) fn lease_reserved(&self, pool: &Pool, now: UnixNanos) -> Result<(), StoreError> {
        for address in pool.gateway.iter().chain(pool.reserved.values()) {
            ipam::claim(&pool.subnet, *address, &mut self.blocks(&pool.subnet))?;
            self.insert_lease(&pool.subnet, *address, None, now)?;
        }
        Ok(())
    }

    /// Leases addresses of `network` to the endpoint `holder`: of each set of pools of each family those that are among
    /// `asked`, or the next free one of the first pool that has any.
    ///
    /// # Errors
    /// [`AddressError`] when one is taken or in none of the pools, or none is left of a set.
    pub fn lease_addresses(
        &self,
        network: &Network,
        asked: &[IpAddr],
        holder: &Id,
        now: UnixNanos,
    ) -> Result<Vec<InterfaceAddress>, AddressError> {
        if let Some(address) = asked.iter().find(|address| network.pool_of(**address).is_none()) {
            return Err(AddressError::Outside(*address));
        }
        let mut leased = Vec::new();
        for pools in sets(network) {
            let pool_of = |address: &IpAddr| pools.iter().find(|pool| pool.subnet.contains(*address));
            let given = asked.iter().filter_map(|address| Some((*pool_of(address)?, *address)));
            let mut chosen: Vec<(&Pool, IpAddr)> = given.collect();
            for (pool, address) in &chosen {
                self.claim_address(pool, *address)?;
            }
            if chosen.is_empty() {
                chosen.push(self.next_address(&pools)?);
            }
            for (pool, address) in chosen {
                self.insert_lease(&pool.subnet, address, Some(holder), now)?;
                leased.push(InterfaceAddress {
                    address,
                    prefix: pool.subnet.prefix(),
                });
            }
        }
        Ok(leased)
    }

    fn claim_address(&self, pool: &Pool, address: IpAddr) -> Result<(), AddressError> {
        if ipam::claim(&pool.subnet, address, &mut self.blocks(&pool.subnet))? {
            Ok(())
        } else {
            Err(AddressError::Taken(address))
        }
    }

    /// The next free address of the first of `pools` that has any.
    fn next_address<'p>(&self, pools: &[&'p Pool]) -> Result<(&'p Pool, IpAddr), AddressError> {
        for pool in pools {
            if let Some(address) = self.next_of_pool(pool)? {
                return Ok((pool, address));
            }
        }
        let places = pools.iter().map(|pool| match pool.range {
            Some(range) => format!("range {range} of subnet {}", pool.subnet),
            None => format!("subnet {}", pool.subnet),
        });
        let mut used = 0;
        for pool in pools {
            used += self.count_leases(&pool.subnet)?;
        }
        Err(AddressError::Exhausted {
            places: places.collect::<Vec<_>>().join(", "),
            used,
        })
    }

    fn next_of_pool(&self, pool: &Pool) -> Result<Option<IpAddr>, AddressError> {
        let text = pool.subnet.to_string();
        let query = "SELECT cursor FROM subnets WHERE subnet = ?1";
        let cursor: [u8; 16] = self.transaction.query_row(query, [&text], |row| row.get(0))?;
        let range = pool.range.unwrap_or(pool.subnet.into());
        let mut blocks = self.blocks(&pool.subnet);
        let Some(address) = ipam::allocate(&pool.subnet, &range, u128::from_be_bytes(cursor), &mut blocks)? else {
            return Ok(None);
        };
        let next = pool
            .subnet
            .offset_of(address)
            .map_or(0, |offset| offset.saturating_add(1));
        self.transaction.execute(
            "UPDATE subnets SET cursor = ?2 WHERE subnet = ?1",
            params![text, next.to_be_bytes()],
        )?;
        Ok(Some(address))
    }

    fn insert_lease(
        &self,
        subnet: &Subnet,
        address: IpAddr,
        holder: Option<&Id>,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO leases (subnet, address, holder, since) VALUES (?1, ?2, ?3, ?4)",
            params![subnet.to_string(), address.to_string(), holder.map(Id::as_str), now],
        )?;
        Ok(())
    }

    /// Gives back every address that the endpoint `holder` has; nothing happens if it has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn release_addresses(&self, holder: &Id) -> Result<(), StoreError> {
        let mut statement = self
            .transaction
            .prepare("SELECT subnet, address FROM leases WHERE holder = ?1")?;
        let rows = statement.query_map([holder.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (subnet, address) in rows.collect::<Result<Vec<(String, String)>, _>>()? {
            // Only what was printed from a subnet and an address is ever written there.
            if let (Ok(subnet), Ok(address)) = (subnet.parse::<Subnet>(), address.parse()) {
                ipam::release(&subnet, address, &mut self.blocks(&subnet))?;
            }
        }
        self.transaction
            .execute("DELETE FROM leases WHERE holder = ?1", [holder.as_str()])?;
        Ok(())
    }

    /// How many addresses of `subnet` are leased, its gateway's and the reserved ones included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_leases(&self, subnet: &Subnet) -> Result<u32, StoreError> {
        let query = "SELECT count(*) FROM leases WHERE subnet = ?1";
        Ok(self
            .transaction
            .query_row(query, [subnet.to_string()], |row| row.get(0))?)
    }

    /// What is in use of `subnet`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn usage(&self, subnet: &Subnet) -> Result<Usage, StoreError> {
        let text = subnet.to_string();
        let mut statement = self
            .transaction
            .prepare("SELECT address, holder, since FROM leases WHERE subnet = ?1")?;
        let rows = statement.query_map([&text], |row| {
            let (address, holder): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let since = row.get(2)?;
            Ok(address.parse().ok().map(|address| Lease {
                address,
                holder: holder.map(Id::from),
                since,
            }))
        })?;
        let mut leases: Vec<Lease> = rows.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        leases.sort_by_key(|lease| lease.address);
        let mut statement = self
            .transaction
            .prepare("SELECT number, bitmap FROM blocks WHERE subnet = ?1 ORDER BY number")?;
        let rows = statement.query_map([&text], |row| {
            let (number, bitmap): ([u8; 16], [u8; BLOCK_BYTES]) = (row.get(0)?, row.get(1)?);
            Ok(Block::from_bytes(u128::from_be_bytes(number), &bitmap))
        })?;
        Ok(Usage {
            leases,
            blocks: rows.collect::<Result<_, _>>()?,
        })
    }
}
