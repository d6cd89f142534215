//! The Stellaris Ethernet controller, as in QEMU's model of it (`hw/net/stellaris_enet.c`).
//!
//! Both FIFOs are one register that is read or written one word at a time, little-endian. Both
//! store a length of two bytes before the frame:
//!
//! ```text
//!   receive:   length  frame ...  FCS      the length counts everything: 2 + frame + 4
//!              2       60..1514   4
//!   transmit:  length  frame ...           the length counts what follows the 14-byte header
//! ```
//!
//! Not tested on a real chip, where clocks and the PHY need to be set up as well.

use cortex_m::asm;
use cortex_m::interrupt;
use cortex_m::peripheral::NVIC;
use lm3s6965::Interrupt::ETHERNET;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use static_cell::ConstStaticCell;
use volatile_register::{RO, RW};

#[repr(C)]
struct Registers {
    /// RIS when read: events that happened. IACK when written: acknowledges them.
    status: RW<u32>,
    /// IM: events that cause an interrupt.
    interrupt_mask: RW<u32>,
    /// RCTL
    receive_control: RW<u32>,
    /// TCTL
    transmit_control: RW<u32>,
    /// DATA: the receive FIFO when read, the transmit FIFO when written.
    data: RW<u32>,
    /// IA0 and IA1: the address of the station.
    address: [RO<u32>; 2],
    /// THR, MCTL, MDV, a gap, MTXD, MRXD: threshold and PHY, left unchanged.
    _untouched: [RO<u32>; 6],
    /// NP: number of frames that wait.
    packets: RO<u32>,
    /// TR: sends the frame in the FIFO. Reads as 1 while it does.
    transmit: RW<u32>,
}

const REGISTERS: *const Registers = 0x4004_8000 as *const Registers;

/// All events of `status`.
const ALL: u32 = 0x7f;
/// A frame has arrived.
const RECEIVED: u32 = 0x01;
/// Empties the receive FIFO.
const RESET_FIFO: u32 = 0x10;
/// Receives, but drops frames with a bad FCS.
const RECEIVE: u32 = 0x09;
/// Sends full duplex, with padding and FCS.
const TRANSMIT: u32 = 0x0f;

/// Length of an Ethernet frame without its FCS.
const FRAME: usize = 1514;
/// Length of destination, source and type.
const HEADER: usize = 14;
const LENGTH: usize = 2;
const FCS: usize = 4;

/// The controller, and a buffer for a frame in each direction.
pub struct Ethernet {
    registers: &'static Registers,
    received: &'static mut [u8; LENGTH + FRAME + FCS],
    sent: &'static mut [u8; LENGTH + FRAME],
}

impl Ethernet {
    /// Takes the controller, resets it and switches it on. Returns `None` if it was taken before.
    pub fn take() -> Option<Self> {
        // Statics, because the buffers are too large for the stack.
        static RECEIVED: ConstStaticCell<[u8; LENGTH + FRAME + FCS]> = ConstStaticCell::new([0; _]);
        static SENT: ConstStaticCell<[u8; LENGTH + FRAME]> = ConstStaticCell::new([0; _]);
        let (received, sent) = (RECEIVED.try_take()?, SENT.try_take()?);
        // SAFETY: the board always has these registers at this address and in this layout. There is
        // no other reference to them, because the buffers above can be taken only once.
        let registers = unsafe { &*REGISTERS };
        let this = Self { registers, received, sent };
        this.interrupt_on(0);
        this.acknowledge();
        // SAFETY: these writes have no effect on memory, only on the controller.
        unsafe {
            this.registers.receive_control.write(RESET_FIFO);
            this.registers.receive_control.write(RECEIVE);
            this.registers.transmit_control.write(TRANSMIT);
        }
        Some(this)
    }

    /// Returns the address of the station.
    pub fn address(&self) -> EthernetAddress {
        let [low, high] = self.registers.address.each_ref().map(|r| r.read().to_le_bytes());
        EthernetAddress([low[0], low[1], low[2], low[3], high[0], high[1]])
    }

    /// Returns whether a frame waits.
    pub fn has_frame(&self) -> bool {
        self.registers.packets.read() != 0
    }

    /// Sleeps until a frame arrives or an interrupt is pending, such as the clock's tick. Returns
    /// at once if a frame waits already.
    pub fn sleep(&self) {
        // Interrupts are masked, so none can be served between the check and the sleep. A pending
        // one still ends the sleep and is served afterwards.
        interrupt::free(|_| {
            self.acknowledge();
            self.interrupt_on(RECEIVED);
            NVIC::unpend(ETHERNET);
            // SAFETY: unmasked with PRIMASK set, and masked again below, so it is never served and
            // cannot break a critical section.
            unsafe { NVIC::unmask(ETHERNET) };
            if !self.has_frame() {
                asm::wfi();
            }
            NVIC::mask(ETHERNET);
            self.interrupt_on(0);
        });
    }

    fn acknowledge(&self) {
        // SAFETY: this write has no effect on memory, only on the controller.
        unsafe { self.registers.status.write(ALL) };
    }

    fn interrupt_on(&self, events: u32) {
        // SAFETY: this write has no effect on memory, only on the controller.
        unsafe { self.registers.interrupt_mask.write(events) };
    }

    fn is_sending(&self) -> bool {
        self.registers.transmit.read() & 1 != 0
    }

    /// Copies the next frame that fits from the FIFO into the buffer. Returns its end in the
    /// buffer.
    fn take_frame(&mut self) -> Option<usize> {
        while self.has_frame() {
            let first = self.registers.data.read().to_le_bytes();
            let total = usize::from(u16::from_le_bytes([first[0], first[1]]));
            let mut space = self.received.chunks_exact_mut(4);
            if let Some(space) = space.next() {
                space.copy_from_slice(&first);
            }
            // Reads all words even if the frame is too long, because the next frame follows them.
            for _ in 1..total.div_ceil(4) {
                let word = self.registers.data.read().to_le_bytes();
                if let Some(space) = space.next() {
                    space.copy_from_slice(&word);
                }
            }
            let end = total.saturating_sub(FCS);
            if end >= LENGTH + HEADER && total <= self.received.len() {
                return Some(end);
            }
        }
        None
    }
}

/// A received frame.
pub struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Space for a frame to send.
pub struct TxToken<'a> {
    registers: &'static Registers,
    buffer: &'a mut [u8; LENGTH + FRAME],
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { registers, buffer } = self;
        // smoltcp asks for at least the header of a frame, and at most for what the capabilities
        // state.
        let length = u16::try_from(len - HEADER).unwrap_or(u16::MAX);
        let all = &mut buffer[..LENGTH + len];
        all[..LENGTH].copy_from_slice(&length.to_le_bytes());
        let result = f(&mut all[LENGTH..]);
        for bytes in all.chunks(4) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            // SAFETY: this write has no effect on memory, only on the controller.
            unsafe { registers.data.write(u32::from_le_bytes(word)) };
        }
        // SAFETY: as above.
        unsafe { registers.transmit.write(1) };
        result
    }
}

impl Device for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        if self.is_sending() {
            return None;
        }
        let end = self.take_frame()?;
        let frame = RxToken(self.received.get(LENGTH..end)?);
        Some((frame, TxToken { registers: self.registers, buffer: self.sent }))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        if self.is_sending() {
            return None;
        }
        Some(TxToken { registers: self.registers, buffer: self.sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}
