// What the two programs share: the one sets `word`, the other the rest.
struct bits {
	__u64 word;
	__u32 found;
	__u8 is_set[64];
};
