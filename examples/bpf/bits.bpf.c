// Which bits of a word are set, by the kernel's own iterator over bits. Linux has it since 6.11.
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "bits.h"

// The kernel's type: it is looked up by its name, so what is in it does not matter but for its size.
struct bpf_iter_bits {
	__u64 opaque[2];
};

extern int bpf_iter_bits_new(struct bpf_iter_bits *it, const __u64 *words, __u32 count) __ksym;
extern int *bpf_iter_bits_next(struct bpf_iter_bits *it) __ksym;
extern void bpf_iter_bits_destroy(struct bpf_iter_bits *it) __ksym;

// The only variable, so that it is all of the map in which libbpf keeps variables.
struct bits shared;

SEC("syscall")
int walk(void *context)
{
	struct bpf_iter_bits it;
	int *bit;

	// A loop whose end the verifier cannot foresee: that is what the iterator is for.
	bpf_iter_bits_new(&it, &shared.word, 1);
	while ((bit = bpf_iter_bits_next(&it))) {
		shared.is_set[*bit & 63] = 1;
		shared.found++;
	}
	bpf_iter_bits_destroy(&it);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
