//! Unix sockets: the SEQPACKET pair of the handshake, connecting to a console socket, passing descriptors.
