/* quant.h: the C interface of libquant. C99, no dependencies.
 *
 * Handles are opaque; what a function creates, the function named *_free destroys (NULL is allowed). Pointers handed out
 * by a handle live as long as the handle unless said otherwise.
 *
 * Errors: functions that can fail return a quant_status. After anything but QUANT_OK, quant_last_error() of the same
 * thread holds one line that names the file, tensor or argument, what was expected and what was found; nothing was
 * changed and no output argument was written, unless said otherwise. A NULL where a pointer is required is QUANT_USAGE.
 * The library prints nothing and never ends the process.
 *
 * Threads: handles that only read (formats, quant_gguf, quant_model) may be used by many threads at once. A quant_graph,
 * quant_runner, quant_session or quant_sampler belongs to one thread at a time. Different handles never share state.
 *
 * Matrices are row-major: `cols` consecutive values are one row. GGUF's first dimension is `cols`.
 */
#ifndef QUANT_H
#define QUANT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define QUANT_API __attribute__((visibility("default")))
#else
#define QUANT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The values are also the exit codes of the program. */
typedef enum quant_status {
    QUANT_OK = 0,
    QUANT_INPUT = 1,      /* a file's content is not what its format promises */
    QUANT_USAGE = 2,      /* a wrong argument or combination of arguments */
    QUANT_IO = 3,         /* the operating system refused to open, read or write */
    QUANT_MEMORY = 4,     /* out of memory */
    QUANT_INTERRUPTED = 5 /* a callback asked to stop */
} quant_status;

/* "MAJOR.MINOR.PATCH" of the library that is loaded. Structures of this header only change with MAJOR (0: with MINOR). */
QUANT_API const char *quant_version(void);

/* Why the last call of this thread failed; "" if none did. Valid until the next failing call of this thread. */
QUANT_API const char *quant_last_error(void);

/* The instruction set whose kernels are in use, for example "avx2". The environment variable QUANT_ISA chooses another. */
QUANT_API const char *quant_instruction_set(void);

/* ---- number formats ---------------------------------------------------------------------------------------------- */

typedef struct quant_format quant_format; /* never freed */

QUANT_API int32_t quant_format_count(void);
QUANT_API const quant_format *quant_format_at(int32_t index);        /* 0 .. count-1, NULL outside */
QUANT_API const quant_format *quant_find_format(const char *name);   /* "Q4_K", in any case; NULL: unknown */
QUANT_API const quant_format *quant_find_format_id(uint32_t id);     /* the type's number in GGUF files; NULL: unknown */

typedef struct quant_format_info {
    const char *name;
    const char *purpose;      /* one line for people */
    uint32_t id;              /* in GGUF files */
    uint32_t block;           /* weights of one block: rows are a whole number of blocks */
    uint32_t block_bytes;
    double bits_per_weight;
    int32_t is_stock;         /* 1: known to stock GGUF readers */
    int32_t can_encode;       /* 1: quant_quantize_rows and quant_quantize_file write it */
    int32_t needs_importance; /* 1: encoding requires importance weights */
} quant_format_info;
QUANT_API quant_status quant_format_get(const quant_format *format, quant_format_info *out);

/* Bytes of one row of `cols` weights; 0 when blocks do not divide it. */
QUANT_API uint64_t quant_row_bytes(const quant_format *format, int64_t cols);

/* Floats to blocks. `x` [rows, cols], finite. `importance` [cols], not negative and finite, or NULL for all 1: the weight of
 * each column's squared error. `out` has rows * quant_row_bytes(format, cols) bytes. The bytes are the same on every
 * machine. QUANT_USAGE: shape, a format that cannot be written, a number that is not finite (row and column are named). */
QUANT_API quant_status quant_quantize_rows(const quant_format *format, const float *x, const float *importance, int64_t rows,
                                           int64_t cols, void *out);

/* Blocks to floats, bit-exact with the format's definition. `blocks` as above; `out` [rows, cols]. Any bytes are accepted. */
QUANT_API quant_status quant_dequantize_rows(const quant_format *format, const void *blocks, int64_t rows, int64_t cols, float *out);

/* ---- GGUF files -------------------------------------------------------------------------------------------------- */

typedef struct quant_gguf quant_gguf;

/* Maps a GGUF file (of a split model the first file; the others are found beside it) and validates all of it. */
QUANT_API quant_status quant_gguf_open(const char *path, quant_gguf **out);
QUANT_API void quant_gguf_free(quant_gguf *gguf);

/* Metadata keys in file order. key_at: NULL outside 0 .. count-1. */
QUANT_API int64_t quant_gguf_key_count(const quant_gguf *gguf);
QUANT_API const char *quant_gguf_key_at(const quant_gguf *gguf, int64_t index);
QUANT_API int32_t quant_gguf_has(const quant_gguf *gguf, const char *key); /* 1: the key is there */

/* Values by key. QUANT_USAGE: no such key; QUANT_INPUT: a value of another type or one that does not fit (integers and
 * bools convert to any integer they fit, integers never to reals). Texts are zero-terminated; `bytes` (may be NULL)
 * receives the length, for texts with zeros inside. */
QUANT_API quant_status quant_gguf_get_integer(const quant_gguf *gguf, const char *key, int64_t *out);
QUANT_API quant_status quant_gguf_get_real(const quant_gguf *gguf, const char *key, double *out);
QUANT_API quant_status quant_gguf_get_text(const quant_gguf *gguf, const char *key, const char **out, size_t *bytes);
/* Arrays: the number of elements, then single elements. QUANT_USAGE: index outside. */
QUANT_API quant_status quant_gguf_get_count(const quant_gguf *gguf, const char *key, int64_t *out);
QUANT_API quant_status quant_gguf_get_integer_at(const quant_gguf *gguf, const char *key, int64_t index, int64_t *out);
QUANT_API quant_status quant_gguf_get_real_at(const quant_gguf *gguf, const char *key, int64_t index, double *out);
QUANT_API quant_status quant_gguf_get_text_at(const quant_gguf *gguf, const char *key, int64_t index, const char **out, size_t *bytes);

typedef struct quant_tensor_info {
    const char *name;
    const quant_format *format;
    int32_t n_dims;
    int64_t shape[4]; /* innermost first, 1 where absent: cols = shape[0], rows = shape[1] * shape[2] * shape[3] */
    const void *data; /* in the mapped file */
    uint64_t bytes;
} quant_tensor_info;
QUANT_API int64_t quant_gguf_tensor_count(const quant_gguf *gguf);
QUANT_API quant_status quant_gguf_tensor_at(const quant_gguf *gguf, int64_t index, quant_tensor_info *out);
QUANT_API quant_status quant_gguf_find_tensor(const quant_gguf *gguf, const char *name, quant_tensor_info *out);

/* ---- tensors and operations on a graph --------------------------------------------------------------------------- */

/* A graph is built once and run many times by a runner. A value is a matrix of floats: `cols` per row, and either a fixed
 * number of rows (weights) or as many rows as a run is given (inputs and all that is computed from them).
 *
 * Functions that add to a graph return the new value, or -1 when operands do not fit. After the first mistake the graph
 * stays broken, and quant_runner_create reports that mistake; so the calls between need no checks. */
typedef struct quant_graph quant_graph;
typedef int32_t quant_value;
#define QUANT_NO_VALUE (-1)

QUANT_API quant_status quant_graph_create(quant_graph **out);
QUANT_API void quant_graph_free(quant_graph *graph);

/* Rows given at each run. `name` (may be NULL) is used in messages. */
QUANT_API quant_value quant_graph_input(quant_graph *graph, const char *name, int64_t cols);
/* A weight [rows, cols] in any format that decodes. `data` is not copied: it must outlive the graph's runners. */
QUANT_API quant_value quant_graph_constant(quant_graph *graph, const char *name, const quant_format *format, int64_t cols, int64_t rows,
                                           const void *data);
/* y[t, r] = sum over k of weight[r, k] * x[t, k] (+ bias[r]). `bias`: an F32 constant of one row, or QUANT_NO_VALUE.
 * With quantized weights x is rounded to 8 bits in groups of 32 first, unless the runner is exact. */
QUANT_API quant_value quant_graph_matmul(quant_graph *graph, quant_value weight, quant_value x, quant_value bias);
/* a + b and a * b, value by value. b may be an F32 constant of one row, which then meets every row of a. */
QUANT_API quant_value quant_graph_add(quant_graph *graph, quant_value a, quant_value b);
QUANT_API quant_value quant_graph_multiply(quant_graph *graph, quant_value a, quant_value b);
QUANT_API quant_value quant_graph_scale(quant_graph *graph, quant_value x, float factor);
/* Each row divided by sqrt(mean of squares + eps), then times `weight` (an F32 constant of one row, or QUANT_NO_VALUE). */
QUANT_API quant_value quant_graph_rms_norm(quant_graph *graph, quant_value x, quant_value weight, float eps);
/* Each row: minus its mean, divided by sqrt(variance + eps), times weight, plus bias (each may be QUANT_NO_VALUE). */
QUANT_API quant_value quant_graph_layer_norm(quant_graph *graph, quant_value x, quant_value weight, quant_value bias, float eps);
/* exp(x - max) / sum, over each row. */
QUANT_API quant_value quant_graph_softmax(quant_graph *graph, quant_value x);

typedef enum quant_activation {
    QUANT_SILU = 0,      /* x / (1 + exp(-x)) */
    QUANT_GELU_TANH = 1, /* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
    QUANT_RELU2 = 2      /* max(x, 0)^2 */
} quant_activation;
QUANT_API quant_value quant_graph_activate(quant_graph *graph, quant_value x, quant_activation kind);
/* activation(gate) * up */
QUANT_API quant_value quant_graph_gated(quant_graph *graph, quant_value gate, quant_value up, quant_activation kind);
/* A view of columns [first, first + count) of x, which is not a constant. */
QUANT_API quant_value quant_graph_columns(quant_graph *graph, quant_value x, int64_t first, int64_t count);
/* Keeps the value readable after a run (others share memory and are overwritten). */
QUANT_API void quant_graph_keep(quant_graph *graph, quant_value value);
/* The shape of a value: columns, and rows (0: as many as a run is given). QUANT_USAGE: no such value. */
QUANT_API quant_status quant_graph_shape(const quant_graph *graph, quant_value value, int64_t *cols, int64_t *rows);

typedef struct quant_runner quant_runner;

/* Plans the graph's memory for at most `max_rows` rows a run. The graph may be changed or freed afterwards.
 * `threads`: 1 .. 512, 0 = the physical cores. `exact`: 1 = decoded weights and f32 activations.
 * QUANT_USAGE: the first mistake made while building the graph. */
QUANT_API quant_status quant_runner_create(const quant_graph *graph, int64_t max_rows, int32_t threads, int32_t exact, quant_runner **out);
QUANT_API void quant_runner_free(quant_runner *runner);
/* The memory that holds an input's rows [max_rows, cols]; read during runs, so it must stay valid. Not copied. */
QUANT_API quant_status quant_runner_set_input(quant_runner *runner, quant_value input, const float *rows);
/* Runs with `rows` rows, 1 .. max_rows. QUANT_USAGE: an input was not set. */
QUANT_API quant_status quant_runner_run(quant_runner *runner, int64_t rows);
/* Row `row` of a kept value after a run: `*out` has its columns and is valid until the next run. */
QUANT_API quant_status quant_runner_result(const quant_runner *runner, quant_value value, int64_t row, const float **out);

/* ---- models and text --------------------------------------------------------------------------------------------- */

typedef struct quant_model quant_model;

/* Loads a GGUF model; every hyper-parameter and tensor shape is checked. `map`: 1 = map the file (pages are read when
 * needed), 0 = read it into memory. Sessions keep their model alive: it may be freed first. */
QUANT_API quant_status quant_model_load(const char *path, int32_t map, quant_model **out);
QUANT_API void quant_model_free(quant_model *model);

typedef struct quant_model_info {
    const char *architecture; /* as in general.architecture */
    const char *description;  /* for people: "llama 4.2M F16" */
    int64_t vocabulary;       /* width of the logits; at least the number of tokens */
    int64_t context;          /* tokens the model was made for */
    int64_t embedding;        /* width of the residual stream */
    int64_t layers;
    int32_t token_count;
    int32_t bos, eos;         /* -1: none */
} quant_model_info;
QUANT_API quant_status quant_model_get(const quant_model *model, quant_model_info *out);

/* Text to token ids. `text` of `bytes` bytes, any bytes. add_special: 1 = with the tokens that the vocabulary wants at the
 * ends. parse_special: 1 = control tokens written in the text become their ids. At most `capacity` ids are written to
 * `ids` (NULL if capacity is 0); *count is how many there are in all, so call again when it is larger. */
QUANT_API quant_status quant_tokenize(const quant_model *model, const char *text, size_t bytes, int32_t add_special, int32_t parse_special,
                                      int32_t *ids, size_t capacity, size_t *count);
/* Token ids to bytes, written in the same way, without a zero at the end. A sequence may end inside a UTF-8 character.
 * quant_detokenize takes off the space that tokenizing put in front; quant_token_text gives one token's bytes as they are
 * in the middle of a text. Control tokens are empty unless show_special is 1. QUANT_USAGE: id outside the vocabulary. */
QUANT_API quant_status quant_detokenize(const quant_model *model, const int32_t *ids, size_t n, int32_t show_special, char *text,
                                        size_t capacity, size_t *bytes);
QUANT_API quant_status quant_token_text(const quant_model *model, int32_t id, int32_t show_special, char *text, size_t capacity,
                                        size_t *bytes);
/* 1: this token ends a text or a turn. */
QUANT_API int32_t quant_token_ends(const quant_model *model, int32_t id);

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

typedef struct quant_session quant_session;
typedef struct quant_adapter quant_adapter;

/* Reads a low-rank adapter (LoRA) in GGUF form. Sessions keep what they use: it may be freed first. */
QUANT_API quant_status quant_adapter_load(const char *path, quant_adapter **out);
QUANT_API void quant_adapter_free(quant_adapter *adapter);

typedef enum quant_kv_type { QUANT_KV_F32 = 0, QUANT_KV_F16 = 1, QUANT_KV_Q8_0 = 2, QUANT_KV_Q4_0 = 3 } quant_kv_type;

typedef struct quant_session_options {
    int64_t context; /* tokens the cache holds */
    int64_t batch;   /* tokens taken at once */
    quant_kv_type k_type, v_type;
    int32_t threads; /* 0: the physical cores */
    int32_t exact;   /* 1: decoded weights and f32 activations */
    /* Adapters that act beside the weights, read during quant_session_create only. adapter_scales: one factor for each, on
     * top of the adapter's own, or NULL for all 1. QUANT_INPUT: an adapter was made for another model. */
    const quant_adapter *const *adapters;
    const float *adapter_scales;
    size_t adapter_count;
} quant_session_options;
/* Context 4096 (or the model's, when that is less), batch 512, f16 cache, all cores, not exact, no adapters. */
QUANT_API quant_status quant_session_defaults(const quant_model *model, quant_session_options *out);

/* One conversation with a model. `options` NULL: the defaults. */
QUANT_API quant_status quant_session_create(const quant_model *model, const quant_session_options *options, quant_session **out);
QUANT_API void quant_session_free(quant_session *session);

/* Appends tokens. `all_logits`: 0 = logits of the last token, 1 = of every token. QUANT_USAGE: an id outside the
 * vocabulary, or more tokens than the context has room for. */
QUANT_API quant_status quant_session_eval(quant_session *session, const int32_t *ids, size_t n, int32_t all_logits);
/* Logits after the last eval: `row` 0 (of the last token), or 0 .. n-1 with all_logits. `*out` has the model's
 * `vocabulary` values and is valid until the next eval. */
QUANT_API quant_status quant_session_logits(const quant_session *session, int64_t row, const float **out);
QUANT_API int64_t quant_session_position(const quant_session *session); /* tokens in the cache; 0 for NULL */
QUANT_API int64_t quant_session_context(const quant_session *session);  /* tokens it can hold; 0 for NULL */
/* Forgets everything from token `position` on. QUANT_USAGE: more than there are, or negative. */
QUANT_API quant_status quant_session_truncate(quant_session *session, int64_t position);
/* Forgets the tokens from `begin` up to `end`: those behind move down and their keys are turned to the new positions.
 * QUANT_USAGE: outside 0 <= begin <= end <= position, or a model that adds positions to its embedding (gpt2). */
QUANT_API quant_status quant_session_remove(quant_session *session, int64_t begin, int64_t end);

/* ---- choice of tokens -------------------------------------------------------------------------------------------- */

typedef struct quant_sampler quant_sampler;

typedef struct quant_sampler_options {
    uint64_t seed;           /* same seed, same tokens */
    float temperature;       /* <= 0: always the most likely */
    int32_t top_k;           /* <= 0: all */
    float top_p;             /* >= 1: off */
    float min_p;             /* 0: off */
    float repeat_penalty;    /* 1: off */
    float presence_penalty;  /* 0: off */
    float frequency_penalty; /* 0: off */
    int32_t repeat_last_n;   /* tokens the penalties look back; -1: all, 0: off */
    int32_t log_probability; /* 1: quant_sampler_choose computes it */
} quant_sampler_options;
/* Seed 0, temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, no penalties over the last 64 tokens. */
QUANT_API quant_status quant_sampler_defaults(quant_sampler_options *out);

QUANT_API quant_status quant_sampler_create(const quant_sampler_options *options, quant_sampler **out); /* NULL: the defaults */
QUANT_API void quant_sampler_free(quant_sampler *sampler);
/* Chooses from `n` logits. `log_probability` (may be NULL) is the natural logarithm under the model's own distribution, 0
 * unless asked for in the options. QUANT_INPUT: no logit is a number above minus infinity. */
QUANT_API quant_status quant_sampler_choose(quant_sampler *sampler, const float *logits, int64_t n, int32_t *id, float *log_probability);
/* Tells the penalties of a token: those of the prompt, and the one just chosen. */
QUANT_API quant_status quant_sampler_accept(quant_sampler *sampler, int32_t id);

/* ---- quantizing files -------------------------------------------------------------------------------------------- */

/* Called from the thread of quant_quantize_file: `done` of `total` bytes of source tensors, `tensor` is at hand (valid
 * during the call). Returns 0 to go on, anything else to stop with QUANT_INTERRUPTED and no output. */
typedef int (*quant_progress)(void *user, uint64_t done, uint64_t total, const char *tensor);

typedef struct quant_quantize_options {
    int32_t threads;          /* 0: the physical cores; the bytes written do not depend on it */
    int32_t force;            /* 1: replace an existing output (never the input) */
    int32_t pure;             /* 1: one format for all tensors that can have it */
    int32_t allow_requantize; /* 1: the input may be quantized already */
    const char *importance;   /* path of an importance matrix, or NULL */
} quant_quantize_options;

/* Writes `input` (a GGUF) to `output` as `type` ("q4", "Q4_K_M", "f16" ...: what `quant quantize` takes). The output appears
 * whole or not at all. `options`, `progress` and `output_bytes` may be NULL. */
QUANT_API quant_status quant_quantize_file(const char *input, const char *output, const char *type, const quant_quantize_options *options,
                                           quant_progress progress, void *user, uint64_t *output_bytes);

#ifdef __cplusplus
}
#endif

#endif /* QUANT_H */
