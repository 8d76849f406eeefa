// Mask R-CNN without Python: an AOTInductor package of `det export --format aoti`, libtorch, operators of torchvision.
//
//     mask_rcnn TORCHVISION MODEL.pt2 PICTURE OUTPUT.png [THRESHOLD]
//
// TORCHVISION is the folder of the installed package: its shared libraries have NMS, ROIAlign and the readers of
// pictures. Beside the model is the JSON that `det export` writes. A line per object is printed, and the picture is
// written with masks and boxes.

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>

using at::Tensor;
using at::indexing::Slice;

// What the JSON beside a file has: classes, and how a picture is resized. Names with quotes need a JSON library.
struct Facts {
  std::vector<std::string> classes;
  double shorter, longer;
  int64_t divisibility, smallest;

  explicit Facts(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    const std::string json = text.str();
    auto number = [&](const std::string& key, double otherwise) {
      std::smatch found;
      const bool there = std::regex_search(json, found, std::regex("\"" + key + R"re(":\s*([0-9]+))re"));
      return there ? std::stod(found[1].str()) : otherwise;
    };
    auto names = [&](const std::string& key) {
      std::smatch list;
      std::vector<std::string> found;
      if (!std::regex_search(json, list, std::regex("\"" + key + R"re(":\s*\[([^\]]*)\])re"))) return found;
      const std::string inside = list[1].str();
      const std::regex name(R"re("([^"]*)")re");
      for (std::sregex_iterator each(inside.begin(), inside.end(), name), end; each != end; ++each) {
        found.push_back((*each)[1].str());
      }
      return found;
    };
    if (names("outputs") != std::vector<std::string>{"boxes", "scores", "labels", "masks"}) {
      throw std::runtime_error(path + ": is not beside a Mask R-CNN for one picture, exported by det");
    }
    classes = names("classes");
    shorter = number("short", 0), longer = number("long", INFINITY);
    divisibility = number("divisibility", 1), smallest = number("smallest", 1);
  }
};

// Call an operator of torchvision's image library.
template <class Result, class... Arguments>
Result call(const char* name, Arguments... arguments) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow(name, "")
      .typed<Result(Arguments...)>()
      .call(std::forward<Arguments>(arguments)...);
}

// Pixels uint8 (1, 3, H', W'), padded right and bottom, sizes int64 (1, 2), and the scale of height and width.
std::tuple<Tensor, Tensor, double, double> prepared(const Tensor& picture, const Facts& facts) {
  const double height = picture.size(1), width = picture.size(2);
  double scale = facts.shorter ? facts.shorter / std::min(height, width) : 1;
  scale = std::min(scale, facts.longer / std::max(height, width));
  const int64_t rows = std::max(1.0, std::floor(height * scale + 0.5));
  const int64_t columns = std::max(1.0, std::floor(width * scale + 0.5));
  auto padded = [&](int64_t side) {
    return std::max((side + facts.divisibility - 1) / facts.divisibility * facts.divisibility, facts.smallest);
  };
  Tensor resized = at::_upsample_bilinear2d_aa(picture.unsqueeze(0), {rows, columns}, false);
  Tensor pixels = at::zeros({1, 3, padded(rows), padded(columns)}, at::kByte);
  pixels.index_put_({Slice(), Slice(), Slice(0, rows), Slice(0, columns)}, resized);
  return {pixels, at::tensor({rows, columns}, at::kLong).view({1, 2}), height / rows, width / columns};
}

// Blend the color into the picture where the mask (S, S), probabilities within the box, reaches a half.
void paint(Tensor& picture, const Tensor& mask, const float* box, const Tensor& color) {
  const int64_t left = std::max(0.f, std::floor(box[0])), right = std::min<float>(picture.size(2), std::ceil(box[2]));
  const int64_t top = std::max(0.f, std::floor(box[1])), bottom = std::min<float>(picture.size(1), std::ceil(box[3]));
  if (left >= right || top >= bottom || box[0] >= box[2] || box[1] >= box[3]) return;
  Tensor x = (at::arange(left, right, at::kFloat) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1;
  Tensor y = (at::arange(top, bottom, at::kFloat) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1;
  Tensor grid = at::stack({x.expand({bottom - top, -1}), y.unsqueeze(1).expand({-1, right - left})}, 2);
  Tensor inside = at::grid_sampler(mask.unsqueeze(0).unsqueeze(0), grid.unsqueeze(0), 0, 0, false)[0] >= 0.5;
  Tensor part = picture.index({Slice(), Slice(top, bottom), Slice(left, right)});
  part.copy_(at::where(inside, ((part + color.to(at::kShort)) / 2).to(at::kByte), part));
  for (Tensor edge : {part.slice(1, 0, 2), part.slice(1, -2), part.slice(2, 0, 2), part.slice(2, -2)}) {
    edge.copy_(color);
  }
}

int main(int count, char** words) try {
  if (count < 5) throw std::runtime_error("usage: mask_rcnn TORCHVISION MODEL.pt2 PICTURE OUTPUT.png [THRESHOLD]");
  const std::string operators = words[1], model = words[2];
  const float threshold = count > 5 ? std::stof(words[5]) : 0.5f;
  for (const char* library : {"/_C_stable.so", "/image_stable.so"}) {
    if (!dlopen((operators + library).c_str(), RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
  }
  const c10::InferenceMode guard;
  const Facts facts(model + ".json");
  torch::inductor::AOTIModelPackageLoader package(model);
  Tensor bytes = call<Tensor>("image::read_file", c10::string_view(words[3]));
  Tensor picture = call<Tensor>("image::decode_image", bytes, int64_t{3}, true);  // RGB, upright
  auto [pixels, sizes, down, across] = prepared(picture, facts);
  const std::vector<Tensor> outputs = package.run({pixels, sizes});
  Tensor boxes = (outputs[0] * at::tensor({across, down, across, down}, at::kFloat)).contiguous();
  const int64_t colors[][3] = {{230, 25, 75}, {60, 180, 75}, {67, 99, 216}, {245, 130, 49}, {145, 30, 180}};
  for (int64_t row = 0; row < boxes.size(0); ++row) {
    const float score = outputs[1][row].item<float>(), *box = boxes.data_ptr<float>() + 4 * row;
    if (score < threshold) continue;
    const int64_t label = outputs[2][row].item<int64_t>();
    paint(picture, outputs[3][row], box, at::tensor(at::IntArrayRef(colors[label % 5], 3), at::kByte).view({3, 1, 1}));
    const std::string name = facts.classes.empty() ? std::to_string(label) : facts.classes.at(label);
    std::printf("%s %.4f %.2f %.2f %.2f %.2f\n", name.c_str(), score, box[0], box[1], box[2], box[3]);
  }
  Tensor encoded = call<Tensor>("image::encode_png", picture.contiguous(), int64_t{6});
  std::ofstream(words[4], std::ios::binary).write(static_cast<const char*>(encoded.data_ptr()), encoded.numel());
  return 0;
} catch (const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);  // without the calls that led to it
  std::cerr << (of_torch ? of_torch->what_without_backtrace() : error.what()) << "\n";
  return 1;
}
