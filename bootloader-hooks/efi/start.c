/*
 * abide-start.efi - what the firmware starts from EFI/BOOT/BOOTX64.EFI: it never leaves the device
 * waiting for a person.
 *
 *	with \EFI\systemd\systemd-bootx64.efi beside it   starts that
 *	else, for group a, then group b                   starts \abide\boot-GROUP.efi with the text of
 *	                                                  \abide\GROUP.cmdline as its command line
 *
 * What it started came back, or could not be loaded: on with the next, and after the last one the
 * machine is reset. A kernel that does not load so uses up a try instead of ending in the
 * firmware's menu. A slot that is half written has no first block, so it is not loaded.
 *
 * A program of its own: freestanding, with the few tables of the UEFI specification 2.10 (chapters
 * 4, 7, 8, 9, 10, 13) that it calls. Nothing here is linked to the rest of abide.
 */
#include <stddef.h>
#include <stdint.h>

#define EFIAPI       __attribute__((ms_abi))
#define CMDLINE_MAX  2048u
#define PATH_MAX_LEN 64u /* of the paths below */
#define DEVICE_MAX   1024u /* of a volume's device path */
#define PAUSE        3000000u /* microseconds, to read what was wrong */
#define OPEN_READ    1u
#define RESET_COLD   0

typedef uint64_t efi_status; /* 0: success */
typedef void *efi_handle;

struct efi_guid {
	uint32_t a;
	uint16_t b, c;
	uint8_t d[8];
};

struct efi_text_output {
	void *reset;
	efi_status(EFIAPI *output_string)(struct efi_text_output *self, const uint16_t *text);
};

struct efi_device_path {
	uint8_t type, subtype;
	uint8_t length[2];
};

struct efi_loaded_image {
	uint32_t revision;
	efi_handle parent;
	void *system_table;
	efi_handle device;
	struct efi_device_path *file_path;
	void *reserved;
	uint32_t options_size;
	void *options;
};

struct efi_file {
	uint64_t revision;
	efi_status(EFIAPI *open)(struct efi_file *self, struct efi_file **ret, const uint16_t *name,
		uint64_t mode, uint64_t attributes);
	efi_status(EFIAPI *close)(struct efi_file *self);
	void *delete;
	efi_status(EFIAPI *read)(struct efi_file *self, size_t *size, void *data);
};

struct efi_file_system {
	uint64_t revision;
	efi_status(EFIAPI *open_volume)(struct efi_file_system *self, struct efi_file **ret);
};

struct efi_boot_services {
	uint8_t header[24];
	void *before_handle_protocol[16];
	efi_status(EFIAPI *handle_protocol)(
		efi_handle handle, const struct efi_guid *protocol, void *ret);
	void *before_load_image[5];
	efi_status(EFIAPI *load_image)(uint8_t boot_policy, efi_handle parent,
		const struct efi_device_path *path, const void *data, size_t size, efi_handle *ret);
	efi_status(EFIAPI *start_image)(efi_handle image, size_t *exit_size, uint16_t **exit_data);
	void *exit;
	efi_status(EFIAPI *unload_image)(efi_handle image);
	void *before_stall[2];
	efi_status(EFIAPI *stall)(size_t microseconds);
};

struct efi_runtime_services {
	uint8_t header[24];
	void *before_reset[10];
	void(EFIAPI *reset_system)(int type, efi_status status, size_t size, const void *data);
};

struct efi_system_table {
	uint8_t header[24];
	uint16_t *vendor;
	uint32_t vendor_revision;
	void *before_output[3];
	struct efi_text_output *output;
	void *errors[2];
	struct efi_runtime_services *runtime;
	struct efi_boot_services *boot;
};

static const struct efi_guid LOADED_IMAGE = {
	0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct efi_guid DEVICE_PATH = {
	0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct efi_guid FILE_SYSTEM = {
	0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};

/* One run of the program. */
struct start {
	efi_handle self;
	const struct efi_system_table *table;
	efi_handle volume;
	struct efi_file *root;
};

struct candidate {
	const uint16_t *path;
	const uint16_t *cmdline; /* NULL: it takes none */
};

static const uint16_t SYSTEMD_BOOT[] = u"\\EFI\\systemd\\systemd-bootx64.efi";
static const struct candidate GROUPS[] = {
	{u"\\abide\\boot-a.efi", u"\\abide\\a.cmdline"},
	{u"\\abide\\boot-b.efi", u"\\abide\\b.cmdline"},
};

static void say(const struct start *start, const uint16_t *text)
{
	(void)start->table->output->output_string(start->table->output, text); /* nobody to tell */
}

static size_t length_of(const uint16_t *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

/* The first `max` bytes; 0 if there is no such file. */
static size_t read_file(const struct start *start, const uint16_t *path, uint8_t *ret, size_t max)
{
	struct efi_file *file = NULL;
	size_t size = max;

	if (start->root->open(start->root, &file, path, OPEN_READ, 0))
		return 0;
	if (file->read(file, &size, ret))
		size = 0;
	(void)file->close(file);
	return size;
}

static uint16_t node_length(const struct efi_device_path *node)
{
	return (uint16_t)(node->length[0] | node->length[1] << 8);
}

static size_t put(uint8_t *to, size_t at, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[at + i] = ((const uint8_t *)data)[i];
	return at + len;
}

/* The volume's device path, then the file's node, then the end. False if it does not fit. */
static int path_to(const struct start *start, const uint16_t *file, uint8_t *ret)
{
	static const uint8_t END[] = {0x7f, 0xff, 4, 0};
	const size_t bytes = (length_of(file) + 1) * sizeof(*file);
	const uint8_t node[] = {4, 4, (uint8_t)(bytes + 4), (uint8_t)((bytes + 4) >> 8)};
	struct efi_device_path *device = NULL;
	size_t at = 0;

	if (start->table->boot->handle_protocol(start->volume, &DEVICE_PATH, &device))
		return 0;
	while (device->type != END[0]) {
		size_t len = node_length(device);

		if (len < sizeof(*device) || at + len > DEVICE_MAX)
			return 0;
		at = put(ret, at, device, len);
		device = (struct efi_device_path *)((uint8_t *)device + len);
	}
	at = put(ret, at, node, sizeof(node));
	at = put(ret, at, file, bytes);
	(void)put(ret, at, END, sizeof(END));
	return 1;
}

/* Comes back if it does not load, or ends. */
static void run(const struct start *start, const uint16_t *file, uint16_t *options, size_t count)
{
	static uint8_t path[DEVICE_MAX + 2 * PATH_MAX_LEN + 16];
	const struct efi_boot_services *boot = start->table->boot;
	struct efi_loaded_image *loaded = NULL;
	efi_handle image = NULL;

	if (!path_to(start, file, path) ||
		boot->load_image(
			0, start->self, (const struct efi_device_path *)path, NULL, 0, &image) ||
		boot->handle_protocol(image, &LOADED_IMAGE, &loaded)) {
		say(start, u"abide: does not load: ");
		say(start, file);
		say(start, u"\r\n");
		return;
	}
	loaded->options = count ? options : NULL;
	loaded->options_size = (uint32_t)(count * sizeof(*options));
	(void)boot->start_image(image, NULL, NULL); /* whatever it says: it did not boot */
	say(start, u"abide: came back: ");
	say(start, file);
	say(start, u"\r\n");
}

/* A group without a command line is none: its kernel would not find its root. */
static void run_group(const struct start *start, const struct candidate *group)
{
	static uint8_t text[CMDLINE_MAX];
	static uint16_t options[CMDLINE_MAX + 1];
	size_t len = read_file(start, group->cmdline, text, sizeof(text));
	size_t count = 0;

	while (count < len && text[count] >= ' ') {
		options[count] = text[count];
		count++;
	}
	if (count == 0)
		return;
	options[count++] = 0;
	say(start, u"abide: no entry of the firmware's: starting ");
	say(start, group->path);
	say(start, u"\r\n");
	run(start, group->path, options, count);
}

static int open_volume(struct start *start)
{
	struct efi_loaded_image *loaded = NULL;
	struct efi_file_system *file_system = NULL;

	if (start->table->boot->handle_protocol(start->self, &LOADED_IMAGE, &loaded))
		return 0;
	start->volume = loaded->device;
	return start->table->boot->handle_protocol(start->volume, &FILE_SYSTEM, &file_system) ==
		       0 &&
	       file_system->open_volume(file_system, &start->root) == 0;
}

efi_status EFIAPI efi_main(efi_handle self, const struct efi_system_table *table);

efi_status EFIAPI efi_main(efi_handle self, const struct efi_system_table *table)
{
	struct start start = {.self = self, .table = table};
	uint8_t byte;

	if (!open_volume(&start)) {
		say(&start, u"abide: the volume this was started from cannot be read\r\n");
	} else if (read_file(&start, SYSTEMD_BOOT, &byte, 1)) {
		run(&start, SYSTEMD_BOOT, NULL, 0);
	} else {
		for (size_t i = 0; i < sizeof(GROUPS) / sizeof(GROUPS[0]); i++)
			run_group(&start, &GROUPS[i]);
	}
	say(&start, u"abide: nothing boots; restarting in 3 s\r\n");
	(void)table->boot->stall(PAUSE);
	table->runtime->reset_system(RESET_COLD, 0, 0, NULL);
	return 1; /* a reset does not return */
}
